"""The second witness of a send in Redis: was this order already sent (law 11)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from shared.clock import utcnow
from shared.domain.accounts import account_key
from shared.domain.payout import PayoutState
from shared.domain.witness import Doubt, Mark, doubt_about
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage.deployment import Deployment, SentPayout

log = structlog.get_logger(__name__)

KEPT_BEYOND_HORIZON = timedelta(days=7)
"""How long after the resend horizon a mark is kept: a backup of last week may be restored."""

Remembers = Callable[[int, Mark, Mark], bool]
"""Whether the journal of a payout has both claims."""

_WRITE_ANEW = """
local found = redis.call('GET', KEYS[1])
local sequence = found and tonumber(string.match(found, ':(%d+):') or 0)
if not found or sequence < tonumber(ARGV[2]) then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
end
"""


class SendWitness:
    """Writes a mark before each create, and judges the one that was there before.

    Safe to share between threads.
    """

    def __init__(
        self,
        redis: RedisClient,
        horizon: timedelta,
        remembers: Remembers,
        deployment: Callable[[], Deployment | None],
        note_missed: Callable[[datetime], None],
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """`note_missed` records in the database that a send left no mark."""
        self._redis = redis
        self.kept = horizon + KEPT_BEYOND_HORIZON
        """How long a mark is kept after its last attempt."""
        self._remembers = remembers
        self._deployment = deployment
        self._note_missed = note_missed
        self._write_anew = redis.client.register_script(_WRITE_ANEW)
        self._clock = clock

    def __call__(self, payout: PayoutState) -> Doubt | None:
        """Mark the claimed payout as sent; say whether it may have been sent before.

        One round trip. While Redis is away nothing is marked, which the database then remembers,
        and nothing speaks against sending.
        """
        own = self._mark_of(payout)
        set_mark = partial(
            self._redis.client.set, _key_of(payout), str(own), ex=self.kept, get=True
        )
        return self._judge(payout, own, set_mark)

    def look(self, payout: PayoutState) -> Doubt | None:
        """Say whether a queued payout was sent although the database has no send; marks nothing."""
        get_mark = partial(self._redis.client.get, _key_of(payout))
        return self._judge(payout, self._mark_of(payout), get_mark)

    def write_anew(self, found: Sequence[SentPayout]) -> None:
        """Write the marks of payouts that were sent, where none are, or those of sends before.

        Raises:
            RedisUnavailable: some are not written.
        """
        pipeline = self._redis.client.pipeline(transaction=False)
        for one in found:
            values = (str(one.mark), one.mark.sequence, int(self.kept.total_seconds()))
            key = _key(one.epay_account, one.merchant_order_no)
            self._write_anew(keys=[key], args=values, client=pipeline)
        self._redis.run(pipeline.execute)

    def _mark_of(self, payout: PayoutState) -> Mark:
        current = self._deployment()
        return Mark.of(payout, 0 if current is None else current.epoch)

    def _judge(self, payout: PayoutState, own: Mark, get: Callable[[], object]) -> Doubt | None:
        try:
            text = self._redis.run(get)
        except RedisUnavailable:
            text = None
            self._note_missed(self._clock())
        found = None if text is None else Mark.parse(str(text))
        current = self._deployment()
        until = None if current is None else current.ask_first_until
        doubt = doubt_about(
            own,
            found,
            # what is no earlier claim, is in doubt: also our own mark, which was written twice then
            remembered=found is not None and self._remembers(payout.id, own, found),
            # without its record the database is another one: see `worker.deployment`
            asks_first=current is None or (until is not None and self._clock() < until),
        )
        if doubt is not None:
            log.warning(doubt.kind, merchant_order_no=payout.merchant_order_no)
        return doubt


def _key_of(payout: PayoutState) -> str:
    return _key(payout.epay_account, payout.merchant_order_no)


def _key(epay_account: str, merchant_order_no: str) -> str:
    return f"payouts:sent:{account_key(epay_account)}:{merchant_order_no}"
