"""The SQL of the daily reconciliation: a day's payouts, their totals, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Executable, Row, text

from shared.domain.accounts import ConfiguredAccount
from shared.domain.daily_reconciliation import Verdict, day_bounds, latest_day
from shared.storage.statements import OF_ACCOUNT, of_account

LOOK_BACK = timedelta(days=6)
"""Days missed are made up for, back to this long before the latest day."""

_KNOWN_DAYS = text(
    "SELECT (SELECT min(day) FROM payout_books WHERE epay_account = :epay_account) AS first_day,"
    " ARRAY(SELECT day FROM payout_books WHERE epay_account = :epay_account AND day >= :oldest"
    " AND finished_at IS NOT NULL) AS finished"
)
_CLAIM = text(
    "INSERT INTO payout_mark (name, at) VALUES (:name, :until)"
    " ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE payout_mark.at <= :now RETURNING at"
)
_RELEASE = text("UPDATE payout_mark SET at = :at WHERE name = :name AND at = :until")
_BEGIN = text(
    "INSERT INTO payout_books (epay_account, day, last_id, agreed, differing, unanswered,"
    " started_at) VALUES (:epay_account, :day, 0, 0, 0, 0, :now) ON CONFLICT DO NOTHING"
)
_FIND = text("SELECT * FROM payout_books WHERE epay_account = :epay_account AND day = :day")
_ADVANCE = text(
    "UPDATE payout_books SET last_id = :last_id, agreed = agreed + :agreed,"
    " differing = differing + :differs, unanswered = unanswered + :unanswered"
    " WHERE epay_account = :epay_account AND day = :day AND last_id = :expected"
    " AND finished_at IS NULL RETURNING *"
)
_FINISH = text(
    "UPDATE payout_books SET finished_at = :now WHERE epay_account = :epay_account AND day = :day"
    " AND last_id = :expected AND finished_at IS NULL RETURNING *"
)
_OF_DAY = f"""
    SELECT id, merchant_order_no FROM payout
    WHERE created_at >= :begin AND created_at < :end AND {OF_ACCOUNT}
    AND id > :last_id
    UNION
    SELECT id, merchant_order_no FROM payout
    WHERE finished_at >= :begin AND finished_at < :end AND {OF_ACCOUNT}
    AND id > :last_id
"""
"""Accepted on the day, or ended on it: by EPAY's report or by a person, however late."""
ORDERS = text(
    f"""
WITH of_day AS MATERIALIZED ({_OF_DAY})
SELECT id, merchant_order_no FROM of_day ORDER BY id LIMIT :limit
"""
)
"""Materialized: the planner would otherwise scan the whole primary key for so few rows."""
SAMPLED = text(
    f"""
WITH numbered AS MATERIALIZED (
    SELECT id, merchant_order_no, row_number() OVER (ORDER BY id) - 1 AS nth,
        count(*) OVER () AS total
    FROM ({_OF_DAY.replace(":last_id", "0")}) AS of_day
)
SELECT id, merchant_order_no FROM numbered
WHERE id > :last_id AND nth * CAST(:sample AS bigint) % total < CAST(:sample AS bigint)
ORDER BY id LIMIT :limit
"""
)
_COUNT = text(f"SELECT count(*) AS payouts FROM ({_OF_DAY}) AS of_day")
_TOTALS = text(
    "SELECT status, currency, count(*) AS count, sum(amount) AS amount,"
    " coalesce(sum(fee), 0) AS fee FROM payout WHERE created_at >= :begin AND created_at < :end"
    f" AND {OF_ACCOUNT} GROUP BY status, currency ORDER BY status, currency"
)


@dataclass(frozen=True, slots=True)
class DayProgress:
    """The progress and the counts of one day's reconciliation."""

    day: date
    last_id: int
    agreed: int
    differing: int
    unanswered: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Total:
    """The totals of a day's payouts of one status and currency, by our rows."""

    status: str
    currency: str
    count: int
    amount: Decimal
    fee: Decimal


class ReconciliationStore:
    """The daily reconciliation of one EPAY account. Each call is one transaction."""

    def __init__(self, engine: Engine, account: ConfiguredAccount) -> None:
        self._engine = engine
        self.account = account
        self._always = {"epay_account": account.account, **of_account(account)}
        self._mark = f"books {account.account}"

    def open_day(self, now: datetime, after: timedelta) -> date | None:
        """The oldest day that is still to be reconciled; None if there is none.

        On the first run only the latest day is: a long history is not reconciled afterwards.
        """
        latest = latest_day(now, after)
        oldest = latest - LOOK_BACK
        (row,) = self._all(_KNOWN_DAYS, {"oldest": oldest})
        first = latest if row.first_day is None else max(oldest, row.first_day)
        days = (first + timedelta(days=nth) for nth in range((latest - first).days + 1))
        return next((day for day in days if day not in row.finished), None)

    def claim(self, now: datetime, until: datetime) -> bool:
        """Claim the work until then; False if another run holds it.

        This only spares EPAY duplicate queries; the compare-and-set of `advance` guards the counts.
        """
        return self._one(_CLAIM, {"name": self._mark, "now": now, "until": until}) is not None

    def release(self, until: datetime, at: datetime) -> None:
        """Let the next run start from `at` on, if the claim `until` is still in place."""
        self._all(_RELEASE, {"name": self._mark, "until": until, "at": at})

    def begin(self, day: date, now: datetime) -> DayProgress:
        """The progress of the day, which is begun if it was not."""
        self._all(_BEGIN, {"day": day, "now": now})
        found = self.find(day)
        if found is None:
            raise LookupError(f"the reconciliation of {day} is gone")
        return found

    def find(self, day: date) -> DayProgress | None:
        """The progress of the day, or None if it was not begun."""
        return _progress(self._one(_FIND, {"day": day}))

    def orders(
        self, day: date, last_id: int, limit: int, sample: int | None = None
    ) -> dict[int, str]:
        """The next payouts of the day after an id: id -> order number, in order of id.

        Args:
            day: in UTC, by `created_at` or by `finished_at`.
            last_id: the cursor; 0 for the first payouts.
            limit: the most to return.
            sample: take this many of the day's payouts, evenly spread, the same ones in each run.
        """
        begin, end = day_bounds(day)
        values = {"begin": begin, "end": end, "last_id": last_id, "limit": limit, "sample": sample}
        found = self._all(ORDERS if sample is None else SAMPLED, values)
        return {row.id: row.merchant_order_no for row in found}

    def count(self, day: date) -> int:
        """How many payouts were accepted on the day, or ended on it."""
        begin, end = day_bounds(day)
        (row,) = self._all(_COUNT, {"begin": begin, "end": end, "last_id": 0})
        return int(row.payouts)

    def advance(
        self, day: date, expected: int, last_id: int, verdicts: Mapping[Verdict, int]
    ) -> DayProgress | None:
        """Move the cursor from `expected` and add the counts; None if another run has moved it."""
        counts = {verdict.value: verdicts.get(verdict, 0) for verdict in Verdict}
        values = {"day": day, "expected": expected, "last_id": last_id, **counts}
        return _progress(self._one(_ADVANCE, values))

    def finish(self, day: date, expected: int, now: datetime) -> DayProgress | None:
        """Close the day; None if another run has closed it or moved the cursor."""
        return _progress(self._one(_FINISH, {"day": day, "expected": expected, "now": now}))

    def totals(self, day: date) -> list[Total]:
        """The totals of the payouts accepted on the day, by our rows, per status and currency."""
        begin, end = day_bounds(day)
        rows = self._all(_TOTALS, {"begin": begin, "end": end})
        return [Total(**row._mapping) for row in rows]  # noqa: SLF001 - its public name

    def _all(self, statement: Executable, values: dict[str, Any]) -> list[Row[Any]]:
        with self._engine.begin() as connection:
            found = connection.execute(statement, self._always | values)
            return list(found.all()) if found.returns_rows else []

    def _one(self, statement: Executable, values: dict[str, Any]) -> Row[Any] | None:
        found = self._all(statement, values)
        return found[0] if found else None


def _progress(row: Row[Any] | None) -> DayProgress | None:
    if row is None:
        return None
    return DayProgress(**{field.name: getattr(row, field.name) for field in fields(DayProgress)})
