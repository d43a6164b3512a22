"""Encryption of account numbers at rest (Fernet), with key rotation."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_MARK = "fernet:"


class CipherError(Exception):
    """A key is malformed, or no key decrypts a stored value."""


class AccountCipher:
    """Encrypts account numbers for the database; without keys it stores plaintext."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Take the keys: the first encrypts, all decrypt.

        Raises:
            CipherError: a key is no Fernet key (32 bytes, URL-safe base64).
        """
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
            self._current = Fernet(keys[0]) if keys else None
        except ValueError:
            raise CipherError(
                "ACCOUNT_ENCRYPTION_KEYS holds something that is no key. Make one with:"
                " payouts new-key"
            ) from None

    def encrypt(self, account_no: str) -> str:
        """The stored form of an account number."""
        if self._fernet is None:
            return account_no
        return _MARK + self._fernet.encrypt(account_no.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """The account number of its stored form.

        Raises:
            CipherError: it is encrypted, and none of the keys decrypts it.
        """
        if not stored.startswith(_MARK):
            return stored
        if self._fernet is None:
            msg = "account numbers are encrypted: set ACCOUNT_ENCRYPTION_KEYS to read them"
            raise CipherError(msg)
        try:
            return self._fernet.decrypt(stored.removeprefix(_MARK)).decode()
        except InvalidToken:
            msg = "an account number was encrypted with a key that ACCOUNT_ENCRYPTION_KEYS lacks"
            raise CipherError(msg) from None

    def is_current(self, stored: str) -> bool:
        """Whether `encrypt` would use the same form and key today."""
        if self._current is None:
            return not stored.startswith(_MARK)
        if not stored.startswith(_MARK):
            return False
        try:
            self._current.decrypt(stored.removeprefix(_MARK))
        except InvalidToken:
            return False
        return True


NO_ENCRYPTION = AccountCipher()
"""Stores plaintext."""


def new_key() -> str:
    """A new random key for ACCOUNT_ENCRYPTION_KEYS."""
    return Fernet.generate_key().decode()
