"""Account numbers encrypted at rest, and a change of key without losing any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from shared.config.builders import build_cipher
from shared.config.settings import Settings, SettingsError
from shared.storage import encryption, journal_audit
from shared.storage.encryption import AccountCipher, CipherError, new_key
from shared.storage.payout_store import PayoutStore
from tests.integration.conftest import World
from tests.support.factories import request_kwargs

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
    last, changed = both.context.store.reencrypt_accounts(0, 2)
    assert changed == 2
    assert both.context.store.reencrypt_accounts(last, 2) == (last + 1, 0)
    assert both.context.store.reencrypt_accounts(last + 1, 2) == (last + 1, 0)
    only_new = locked(world, NEW)
    assert {only_new.row(no).account_no for no in ("plain", "old", "new")} == {"U1234567890"}
    assert all(value.startswith("fernet:") for value in stored(world))


def test_a_missing_key_is_told_and_nothing_is_sent(world: World) -> None:
    """Without its key a payout is not readable; the words say which setting to mend."""
    locked(world, OLD).ask("order-1")
    for keys in ((), (NEW,)):
        with pytest.raises(CipherError, match="ACCOUNT_ENCRYPTION_KEYS"):
            locked(world, *keys).row("order-1")


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
