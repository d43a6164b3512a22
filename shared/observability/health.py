"""Health of the service by its state in PostgreSQL, not by whether its processes run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from shared.domain.payout import Status
from shared.domain.transitions import FINAL

CLOCK_TOLERANCE_SECONDS = 5.0
_OPEN = [status.value for status in Status if status not in FINAL]

_READ = text(
    """
SELECT
    (SELECT at FROM payout_mark WHERE name = 'sweep') AS swept_at,
    (SELECT min(due_at) FROM payout WHERE due_at IS NOT NULL) AS first_due_at,
    (SELECT count(*) FROM payout WHERE review_reason IS NOT NULL) AS in_review,
    (SELECT min(review_since) FROM payout WHERE review_reason IS NOT NULL) AS review_since,
    (SELECT min(created_at) FROM payout_outbox WHERE sent_at IS NULL) AS unsent_since,
    (SELECT jsonb_object_agg(status, extract(epoch FROM clock_timestamp() - since)) FROM (
        SELECT status, (SELECT min(created_at) FROM payout
                        WHERE due_at IS NOT NULL AND payout.status = open.status) AS since
        FROM unnest(CAST(:open AS text[])) AS open(status)
    ) AS oldest WHERE since IS NOT NULL) AS oldest_open,
    now() AS database_now
"""
)

_UNSENT_QUEUES = text(
    """
SELECT queue, count(*) AS messages, extract(epoch FROM now() - min(created_at)) AS seconds
FROM payout_outbox WHERE sent_at IS NULL GROUP BY queue ORDER BY seconds DESC LIMIT :limit
"""
)


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """The state of the service; ages in seconds, 0 if there is nothing that ages."""

    sweep_age: float | None
    """Since the last sweep ran, by PostgreSQL's clock; None if none ever did."""
    oldest_due: float
    """How long the longest due payout has been due."""
    oldest_unsent: float
    """How long the oldest unsent message to a requesting app has been waiting."""
    oldest_open: dict[str, float]
    """For each status that is not final, the age of its oldest payout; none, no entry (law 16)."""
    in_review: int
    """The number of payouts in review."""
    oldest_review: float
    """How long the longest waiting of them has been in review."""
    clock_ahead: float
    """This machine's clock minus the database's, in seconds."""

    def clock_skew(self) -> list[str]:
        """How far this machine's clock is from the database's, in words if it is too far."""
        if abs(self.clock_ahead) <= CLOCK_TOLERANCE_SECONDS:
            return []
        side = "ahead of" if self.clock_ahead > 0 else "behind"
        skew = (
            f"The clock of this machine is {abs(self.clock_ahead):.1f} s {side} the database's:"
            " leases and delays would be wrong. Synchronise both (NTP)."
        )
        return [skew]

    def clock_problems(self) -> list[str]:
        """`clock_skew`, and whether the database's clock was set back since the last sweep."""
        if self.sweep_age is None or self.sweep_age >= -CLOCK_TOLERANCE_SECONDS:
            return self.clock_skew()
        set_back = (
            f"The last sweep is {-self.sweep_age:.0f} s in the future by the database's clock:"
            " that clock was set back, or was wrong then. Synchronise it (NTP)."
        )
        return [*self.clock_skew(), set_back]


def read(engine: Engine, now: datetime) -> HealthSnapshot:
    """Read the snapshot; `now` is this machine's time."""
    with engine.connect() as connection:
        row = connection.execute(_READ, {"open": _OPEN}).one()
    database_now = row.database_now
    return HealthSnapshot(
        sweep_age=None if row.swept_at is None else (database_now - row.swept_at).total_seconds(),
        oldest_due=_age(row.first_due_at, database_now),
        oldest_unsent=_age(row.unsent_since, database_now),
        oldest_open={
            status: max(0.0, float(row.oldest_open[status]))
            for status in _OPEN
            if status in (row.oldest_open or {})
        },
        in_review=row.in_review,
        oldest_review=_age(row.review_since, database_now),
        clock_ahead=(now - database_now).total_seconds(),
    )


def unsent_queues(engine: Engine, limit: int = 20) -> list[tuple[str, int, float]]:
    """The apps' queues with unsent messages, the longest waiting first: name, count, seconds."""
    with engine.connect() as connection:
        rows = connection.execute(_UNSENT_QUEUES, {"limit": limit}).all()
    return [(row.queue, row.messages, float(row.seconds)) for row in rows]


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
