"""Whether the service does its work, as PostgreSQL shows it: not whether processes live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

_READ = text(
    """
SELECT
    (SELECT at FROM payout_mark WHERE name = 'sweep') AS swept_at,
    (SELECT min(due_at) FROM payout WHERE due_at IS NOT NULL) AS first_due_at,
    (SELECT count(*) FROM payout WHERE review_reason IS NOT NULL) AS in_review,
    (SELECT min(created_at) FROM payout_outbox WHERE sent_at IS NULL) AS untold_since,
    now() AS database_now
"""
)


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """How the service stands; ages in seconds."""

    sweep_age: float | None
    """Since the last sweep ran through broker and worker; None: never."""
    oldest_due: float
    """How long the longest due payout has been waiting to be looked at; 0 when none is due."""
    oldest_untold: float
    """How long the oldest message to an asking app has been waiting; 0 when none is."""
    in_review: int
    """Payouts that need a person."""
    clock_ahead: float
    """By how much our clock is ahead of the database's; negative: behind."""


def read(engine: Engine, now: datetime) -> HealthSnapshot:
    """Look."""
    with engine.connect() as connection:
        row = connection.execute(_READ).one()
    return HealthSnapshot(
        sweep_age=None if row.swept_at is None else (now - row.swept_at).total_seconds(),
        oldest_due=_age(row.first_due_at, now),
        oldest_untold=_age(row.untold_since, now),
        in_review=row.in_review,
        clock_ahead=(now - row.database_now).total_seconds(),
    )


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
