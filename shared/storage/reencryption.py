"""Encryption of stored account numbers with the current key."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine

from shared.domain.payout import UnreadableAccount
from shared.storage.encryption import AccountCipher
from shared.storage.row_mapping import dumps, open_account
from shared.storage.statements import REENCRYPT, STORED_ACCOUNTS


class Reencrypted(NamedTuple):
    """What `reencrypt_accounts` did."""

    last_id: int
    """The last payout read; the one that it began after if there are no more."""
    changed: int
    kept: int
    """Account numbers that still need an older key."""


def reencrypt_accounts(
    engine: Engine, cipher: AccountCipher, after_id: int, limit: int
) -> Reencrypted:
    """Encrypt the account numbers of the next payouts with the current key.

    One that no key decrypts is kept as it is, and so is one whose last event seals it so.
    """
    with engine.begin() as connection:
        found = connection.execute(STORED_ACCOUNTS, {"last": after_id, "limit": limit}).all()
        old = [row for row in found if not cipher.is_current(row.account_no)]
        opened = {row.id: open_account(row.account_no, cipher) for row in old}
        kept = {
            row.id for row in old if row.is_sealed or isinstance(opened[row.id], UnreadableAccount)
        }
        rows = [
            {"id": row.id, "account_no": cipher.encrypt(opened[row.id])}
            for row in old
            if row.id not in kept
        ]
        if rows:
            connection.execute(REENCRYPT, {"rows": dumps(rows)})
    return Reencrypted(found[-1].id if found else after_id, len(rows), len(kept))
