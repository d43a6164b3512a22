"""`payouts new-key` and `payouts rotate-keys`: account numbers encrypted at rest."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from ops.errors import UserError, unreadable
from shared.config.builders import build_cipher
from shared.config.settings import load
from shared.storage import encryption
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore

_BATCH = 500


def new_key() -> None:
    """Print a new key for ACCOUNT_ENCRYPTION_KEYS."""
    say(encryption.new_key())


def rotate_keys() -> None:
    """Encrypt every stored account number with the first of ACCOUNT_ENCRYPTION_KEYS.

    With the old key still in the list everything stays readable meanwhile; safe to run again.
    """
    settings = load().need("database_url")
    engine = make_engine(settings.database_url, pool_size=1)
    store = PayoutStore(engine, build_cipher(settings))
    last = changed = 0
    try:
        while True:
            upto, moved = store.reencrypt_accounts(last, _BATCH)
            changed += moved
            if upto == last:
                break
            last = upto
    except encryption.CipherError as error:
        raise UserError(str(error)) from error
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    finally:
        engine.dispose()
    say(f"{changed} account number(s) are now under the current key.")
