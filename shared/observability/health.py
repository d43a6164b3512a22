"""Health of the service by its state in PostgreSQL, not by whether its processes run."""

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
    (SELECT min(review_since) FROM payout WHERE review_reason IS NOT NULL) AS review_since,
    (SELECT min(created_at) FROM payout_outbox WHERE sent_at IS NULL) AS untold_since,
    now() AS database_now
"""
)


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """The state of the service; ages in seconds, 0 if there is nothing that ages."""

    sweep_age: float | None
    """Since the last sweep ran; None if none ever did."""
    oldest_due: float
    """How long the longest due payout has been due."""
    oldest_untold: float
    """How long the oldest unsent message to a requesting app has been waiting."""
    in_review: int
    """The number of payouts in review."""
    oldest_review: float
    """How long the longest waiting of them has been in review."""
    clock_ahead: float
    """This machine's clock minus the database's, in seconds."""


def read(engine: Engine, now: datetime) -> HealthSnapshot:
    """Read the snapshot; `now` is this machine's time."""
    with engine.connect() as connection:
        row = connection.execute(_READ).one()
    return HealthSnapshot(
        sweep_age=None if row.swept_at is None else (now - row.swept_at).total_seconds(),
        oldest_due=_age(row.first_due_at, now),
        oldest_untold=_age(row.untold_since, now),
        in_review=row.in_review,
        oldest_review=_age(row.review_since, now),
        clock_ahead=(now - row.database_now).total_seconds(),
    )


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
