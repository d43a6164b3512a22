"""Putting the payouts of a batch on disk, a few hundred in a commit, and telling the workers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from shared.clock import utcnow
from shared.domain.payout import PayoutState
from shared.storage.bulk_insert import IntakeResult, insert_or_compare
from shared.storage.encryption import AccountCipher

_SURELY_PER_SECOND = 50
"""So many hints a second the workers surely come to: the sweep looks after them no earlier. Else it
would hand out a big batch a second time while it waits in the queue, before all that is due."""


class Sender:
    """Sends chunk after chunk; after each one nothing is half done, so it may end anywhere."""

    def __init__(
        self,
        engine: Engine,
        vault: AccountCipher,
        lease: timedelta,
        hint: Callable[[int], None],
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._engine = engine
        self._vault = vault
        self._lease = lease
        self._hint = hint
        self._clock = clock
        self._broker_is_away = False
        self._told = 0
        self.untold = 0
        """How many payouts are on disk without a hint: the sweep sends them."""

    def send(self, payouts: Sequence[PayoutState]) -> list[IntakeResult]:
        """Take the payouts in, in one commit; then publish the hints.

        With hints under way the sweep waits for a lease, and for the hints before them; without a
        broker it looks at once.
        """
        now = self._clock()
        asked = [
            replace(payout, nonce=secrets.token_hex(16), created_at=now, updated_at=now)
            for payout in payouts
        ]
        hinted = self._lease + timedelta(seconds=self._told / _SURELY_PER_SECOND)
        due_at = now if self._broker_is_away else now + hinted
        with self._engine.begin() as connection:
            admitted = insert_or_compare(
                connection, asked, now=now, due_at=due_at, cipher=self._vault
            )
        for one in admitted:
            if one.is_new:
                self._tell(one.payout.id)
        return admitted

    def _tell(self, payout_id: int) -> None:
        if not self._broker_is_away:
            try:
                self._hint(payout_id)
                self._told += 1
            except (OperationalError, RedisError, OSError):
                self._broker_is_away = True
        self.untold += self._broker_is_away
