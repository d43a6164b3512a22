"""`payouts new-key` and `payouts rotate-keys`: account numbers encrypted at rest."""

from __future__ import annotations

from ops.connections import database
from ops.console import counted, say
from ops.errors import UserError
from shared.config.builders import build_cipher
from shared.config.settings import load
from shared.storage import encryption
from shared.storage.reencryption import reencrypt_accounts

_BATCH = 500


def new_key() -> None:
    """Print a new key for ACCOUNT_ENCRYPTION_KEYS."""
    say(encryption.new_key())


def rotate_keys() -> None:
    """Encrypt every stored account number with the first of ACCOUNT_ENCRYPTION_KEYS.

    While the old key is still in the list everything stays readable; safe to run again.
    """
    settings = load()
    with database(settings) as engine:
        cipher = build_cipher(settings)
        last = changed = kept = 0
        while (done := reencrypt_accounts(engine, cipher, last, _BATCH)).last_id != last:
            last, changed, kept = done.last_id, changed + done.changed, kept + done.kept
    say(f"Encrypted with the current key: {counted(changed, 'account number')}.")
    if kept:
        raise UserError(
            f"{counted(kept, 'account number')} still need an older key: keep it in"
            " ACCOUNT_ENCRYPTION_KEYS, or add it if it is missing there"
        )
