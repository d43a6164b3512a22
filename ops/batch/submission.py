"""Comparing the payouts of a batch with the stored ones, storing them, waking the workers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from shared.clock import utcnow
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.payout import PayoutState
from shared.storage.bulk_insert import (
    IntakeResult,
    compare_with_existing,
    find_alike,
    find_existing,
    insert_or_compare,
)
from shared.storage.encryption import AccountCipher

_MIN_PER_SECOND = 50
"""Payouts per second that the workers process at least. The sweep takes a payout no earlier than
this allows: else it would dispatch a big batch a second time while its messages are queued."""


def compare_with_stored(
    engine: Engine,
    cipher: AccountCipher,
    payouts: Sequence[PayoutState],
    accounts: ConfiguredAccounts,
) -> list[IntakeResult]:
    """The results for those payouts whose order number is stored already."""
    with engine.connect() as connection:
        stored = find_existing(connection, payouts, cipher)
    return [
        compare_with_existing(existing, payout, accounts)
        for payout, existing in zip(payouts, stored, strict=True)
        if existing is not None
    ]


def alike_with_stored(engine: Engine, payouts: Sequence[PayoutState]) -> dict[str, str]:
    """Order numbers that equal a stored one but for case, leading zeros or `.0`, with that one."""
    with engine.connect() as connection:
        return find_alike(connection, payouts)


@dataclass
class Sender:
    """Sends chunk by chunk; it may be stopped after any chunk."""

    engine: Engine
    cipher: AccountCipher
    lease: timedelta
    wake_up: Callable[[int], None]
    accounts: ConfiguredAccounts
    not_notified: int = 0
    """The number of stored payouts without a wake-up message: the sweep sends them."""
    _notified: int = 0
    _broker_is_away: bool = False

    def send(self, payouts: Sequence[PayoutState]) -> list[IntakeResult]:
        """Store the payouts in one commit, then publish the wake-up messages.

        The sweep takes a payout only after its lease and the time for the messages before it;
        without a broker it takes it at once.
        """
        now = utcnow()
        requested = [
            replace(payout, nonce=secrets.token_hex(16), created_at=now, updated_at=now)
            for payout in payouts
        ]
        wait = self.lease + timedelta(seconds=self._notified / _MIN_PER_SECOND)
        due_at = now if self._broker_is_away else now + wait
        with self.engine.begin() as connection:
            results = insert_or_compare(
                connection,
                requested,
                now=now,
                due_at=due_at,
                cipher=self.cipher,
                accounts=self.accounts,
            )
        for one in results:
            if one.is_new:
                self._notify(one.payout.id)
        return results

    def _notify(self, payout_id: int) -> None:
        if not self._broker_is_away:
            try:
                self.wake_up(payout_id)
                self._notified += 1
            except (OperationalError, RedisError, OSError):
                self._broker_is_away = True
        self.not_notified += self._broker_is_away
