"""Account numbers encrypted at rest, and a change of key without losing any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from shared.config.builders import build_cipher
from shared.config.settings import Settings, SettingsError
from shared.domain.payout import Status, UnreadableAccount
from shared.observability.logging import mask
from shared.storage import encryption, journal_audit
from shared.storage.encryption import AccountCipher, new_key
from shared.storage.payout_store import PayoutStore
from shared.storage.reencryption import reencrypt_accounts
from tests.integration.conftest import World
from tests.support.factories import request_kwargs
from tests.support.jobs import (
    callback_message,
    freeze_clock,
    kinds,
    of_ledger,
    put_queued,
    put_unknown,
    tick,
)
from worker.jobs.callback import callback

OLD, NEW = new_key(), new_key()


def locked(world: World, *keys: str) -> World:
    """The world with a cipher of these keys."""
    store = PayoutStore(world.engine, AccountCipher(keys))
    return replace(world, context=replace(world.context, store=store))


def stored(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(text("SELECT account_no FROM payout ORDER BY id")).scalars())


def test_with_a_key_no_account_number_is_in_the_database(world: World) -> None:
    """The row holds a token; the gateway is sent the number; the journal's chain holds."""
    safe = locked(world, OLD)
    safe.ask("order-1")
    number = request_kwargs()["account_no"]
    everything = world.sql(
        "SELECT p::text FROM payout p UNION ALL SELECT e::text FROM payout_event e"
    )
    assert not any(number in row[0] for row in everything)
    assert safe.row("order-1").account_no == number
    assert list(journal_audit.audit_chains(world.engine, AccountCipher([OLD]))) == [None]


def test_encrypted_payouts_are_asked_for_again_without_conflict(world: World) -> None:
    """The same request is the same payout, though no two tokens are alike."""
    safe = locked(world, OLD)
    safe.ask("order-1")
    again = safe.ask("order-1")
    assert (again["duplicate"], again["status"]) == (True, "processing")


def test_a_change_of_key_loses_nothing(world: World) -> None:
    """New key first, old key second; rotate; then the old key can go."""
    world.ask("plain")
    locked(world, OLD).ask("old")
    both = locked(world, NEW, OLD)
    both.ask("new")
    assert {both.row(no).account_no for no in ("plain", "old", "new")} == {"U1234567890"}
    last, changed, kept = reencrypt_accounts(both.engine, AccountCipher([NEW, OLD]), 0, 2)
    assert (changed, kept) == (2, 0)
    assert reencrypt_accounts(both.engine, AccountCipher([NEW, OLD]), last, 2) == (last + 1, 0, 0)
    assert reencrypt_accounts(both.engine, AccountCipher([NEW, OLD]), last + 1, 2) == (
        last + 1,
        0,
        0,
    )
    only_new = locked(world, NEW)
    assert {only_new.row(no).account_no for no in ("plain", "old", "new")} == {"U1234567890"}
    assert all(value.startswith("fernet:") for value in stored(world))


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_a_lost_key_costs_its_own_row_alone(world: World, keys: tuple[str, ...]) -> None:
    """Law 15: one row among 500 cannot be opened: the other 499 are sent, it is flagged."""
    clock = freeze_clock(world)
    put_queued(locked(world, OLD), "locked")
    many = locked(world, *keys)
    put_queued(many, *[f"order-{nth}" for nth in range(499)])
    tick(many)
    status = dict(many.sql("SELECT status, count(*) FROM payout GROUP BY status"))
    assert status == {"queued": 1, "processing": 499}
    row = many.row("locked")
    assert row.review_reason == (
        "unreadable: no key of ACCOUNT_ENCRYPTION_KEYS decrypts its account number"
    )
    assert kinds(many, "locked") == ["accepted", "held"]
    assert isinstance(row.account_no, UnreadableAccount)
    assert mask(row.account_no) == "(unreadable)"
    assert of_ledger(many, "locked")["creates_received"] == 0
    assert set(journal_audit.audit_chains(many.engine, AccountCipher(keys))) == {None}

    clock.forward(600)
    back = locked(world, *keys, OLD)
    tick(back)
    assert back.row("locked").status is Status.PROCESSING
    assert back.row("locked").review_reason is None
    assert set(journal_audit.audit_chains(back.engine, AccountCipher([*keys, OLD]))) == {None}


def test_what_epay_has_already_ends_without_the_key(world: World) -> None:
    """A callback in the middle of a batch: the end is recorded and sealed, key or no key."""
    freeze_clock(world)
    put_unknown(locked(world, OLD), "order-1")
    lost = locked(world, NEW)
    callback(lost.context, callback_message())
    assert lost.row().status is Status.SUCCEEDED
    for keys in ([NEW], [NEW, OLD]):
        assert list(journal_audit.audit_chains(world.engine, AccountCipher(keys))) == [None]
    world.sql("UPDATE payout SET account_no = 'fernet:of-another-row'")
    [broken] = journal_audit.audit_chains(world.engine, AccountCipher([NEW, OLD]))
    assert broken is not None
    world.sql("UPDATE payout SET account_no = 'U-of-a-thief'")
    [broken] = journal_audit.audit_chains(world.engine, AccountCipher([NEW, OLD]))
    assert broken is not None


def test_a_change_of_key_passes_over_what_it_cannot_open(world: World) -> None:
    """One unreadable row: the others are encrypted with the new key, and it is counted."""
    freeze_clock(world)
    put_queued(locked(world, new_key()), "lost")
    put_queued(locked(world, OLD), "old")
    put_unknown(locked(world, OLD), "sealed")
    callback(locked(world, NEW).context, callback_message("sealed"))
    both = locked(world, NEW, OLD)
    assert reencrypt_accounts(both.engine, AccountCipher([NEW, OLD]), 0, 10)[1:] == (1, 2)
    assert locked(world, NEW).row("old").account_no == "U1234567890"
    assert list(journal_audit.audit_chains(world.engine, AccountCipher([NEW, OLD])))[1:] == [
        None,
        None,
    ]


def test_a_repeated_request_for_an_unreadable_payout_is_no_conflict(world: World) -> None:
    """Its account number cannot be compared; the other fields can."""
    locked(world, OLD).ask("order-1")
    lost = locked(world, NEW)
    assert lost.ask("order-1")["status"] == "processing"
    assert lost.ask("order-1", amount="11.00")["status"] == "conflict"


def test_keys_can_be_taken_off_again(world: World) -> None:
    """A cipher knows what it would not store in this form."""
    plain, safe = AccountCipher(), AccountCipher([OLD])
    token = safe.encrypt("U1")
    assert plain.is_current("U1")
    assert not plain.is_current(token)
    assert safe.is_current(token)
    assert not safe.is_current("U1")
    assert not AccountCipher([NEW, OLD]).is_current(token)


def test_what_is_no_key_is_refused_at_the_start() -> None:
    """And not repeated."""
    settings = Settings(account_encryption_keys="hunter2hunter2")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="payouts new-key") as refused:
        build_cipher(settings)
    assert "hunter2" not in str(refused.value)
    assert len(encryption.new_key()) == 44
