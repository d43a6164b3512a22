"""An order number is one payout, whichever account a request names, in whatever spelling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from shared.domain import lifecycle
from shared.domain.accounts import account_key
from shared.storage.encryption import NO_ENCRYPTION
from shared.storage.payout_store import PayoutStore
from shared.storage.statements import account_key_sql
from shared.storage.write_transitions import insert_transitions
from tests.support.stored_payouts import NOW, POLICY, accepted, new


def test_python_and_postgresql_compare_accounts_alike(engine: Engine) -> None:
    """Every character that an account may have, and white space around it."""
    names = [f" \t{chr(code)}Shop@EPAY.com\r\n" for code in range(0x21, 0x7F)]
    key = account_key_sql("a").replace("a.epay_account", "a")
    with engine.connect() as connection:
        found = connection.execute(
            text(f"SELECT a, {key} FROM unnest(CAST(:names AS text[])) AS a"), {"names": names}
        )
        assert dict(found.all()) == {one: account_key(one) for one in names}


def test_a_merchant_order_no_is_accepted_once(store: PayoutStore) -> None:
    """The second accept of the same number is refused, and writes neither event nor message."""
    accepted(store)
    step = lifecycle.accept(new(), claim_id="d", now=NOW, policy=POLICY)
    assert store.insert([step]) == [None]
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM payout_event")).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM payout_outbox")).scalar_one() == 1


@pytest.mark.parametrize("again", ["SHOP@epay.com ", "other@epay.com"])
def test_a_number_is_one_payout_whatever_the_account(store: PayoutStore, again: str) -> None:
    """A request that names no account finds the payout of any (law 10), earlier releases' too."""
    for number, scope in (("o-1", ""), ("o-2", "shop@epay.com"), ("o-3", None)):
        assert accepted(store, number, order_scope=scope)
        repeated = new(number, epay_account=again, order_scope="")
        step = lifecycle.accept(repeated, claim_id="d", now=NOW, policy=POLICY)
        assert store.insert([step]) == [None]
        standing = store.find_standing(repeated)
        assert standing is not None
        assert standing.epay_account == "shop@epay.com"


def test_a_named_account_has_numbers_of_its_own(store: PayoutStore) -> None:
    """But not under another spelling of the same account."""
    accepted(store, "o-1", order_scope="")
    other = new("o-1", epay_account="other@epay.com", order_scope="other@epay.com")
    assert store.find_standing(other) is None
    step = lifecycle.accept(other, claim_id="d", now=NOW, policy=POLICY)
    assert store.insert([step])[0] is not None
    spelled = new("o-1", epay_account="Shop@epay.com", order_scope="shop@epay.com")
    step = lifecycle.accept(spelled, claim_id="e", now=NOW, policy=POLICY)
    assert store.insert([step]) == [None]


def test_the_index_holds_what_two_transactions_do_at_once(engine: Engine) -> None:
    """Neither sees the other's row: the unique index on number and scope refuses the second."""
    one, other = PayoutStore(engine), engine.connect()
    with other, other.begin():
        insert_transitions(
            other.execute, [lifecycle.accept_queued(new(order_scope=""), now=NOW)], NO_ENCRYPTION
        )
        with ThreadPoolExecutor(1) as pool:
            late = new(epay_account="other@epay.com", order_scope="")
            step = lifecycle.accept(late, claim_id="d", now=NOW, policy=POLICY)
            waiting = pool.submit(one.insert, [step])
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            other.commit()
            assert waiting.result(timeout=30) == [None]
