"""The comparison of a day for people, and as JSON."""

from __future__ import annotations

from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.console import exact, plain, when
from ops.daily_reconciliation.compare_day import Line
from ops.daily_reconciliation.totals import DayTotals
from shared.domain.daily_reconciliation import Verdict
from shared.storage.daily_reconciliation import DayProgress, Total

_UNANSWERED_ADVICE = (
    "Not answered is neither agreed nor different: run this again. If the words mean `no such"
    " order`, confirm it with EPAY and add the code to EPAY_NOT_FOUND_CODES."
)
_MONEY = ("count", "amount", "fee")


def print_sums(to: Console, day: date, sums: DayTotals, daily: DayProgress | None) -> None:
    """The sums side by side, what differs, what was not answered, what the daily run found."""
    if not sums.by:
        _say(to, _nothing(day))
        _say(to, _daily_words(daily))
        return
    ours, theirs = (tuple(f"{who} {name}" for name in _MONEY) for who in ("our", "EPAY"))
    table = _table(day, *ours, *theirs)
    for (status, currency), pair in sorted(sums.by.items()):
        cells = (cell for side in pair for cell in _cells(side))
        table.add_row(status, plain(currency), *cells)
    to.print(table, markup=False, highlight=False)
    for title, verdict in (("DIFFERS", Verdict.DIFFERS), ("not answered", Verdict.UNANSWERED)):
        for line in sums.of(verdict):
            words = "; ".join(line.compared.reasons)
            _say(to, f"{title}: {line.payout.merchant_order_no}: {words}")
    counts = sums.verdicts
    _say(
        to,
        f"{counts.total()} payout(s) asked for: {counts[Verdict.AGREED]} agree,"
        f" {counts[Verdict.DIFFERS]} differ, {counts[Verdict.UNANSWERED]} were not answered.",
    )
    if counts[Verdict.UNANSWERED]:
        _say(to, _UNANSWERED_ADVICE)
    _say(to, _daily_words(daily))


def print_ours(to: Console, day: date, totals: list[Total], daily: DayProgress | None) -> None:
    """Our own sums, and what the daily run found."""
    if totals:
        table = _table(day, *_MONEY)
        for total in totals:
            table.add_row(total.status, total.currency, *_cells(total))
        to.print(table, markup=False, highlight=False)
    else:
        _say(to, _nothing(day))
    _say(to, _daily_words(daily))


def as_dict(day: date, sums: DayTotals, daily: DayProgress | None) -> dict[str, Any]:
    """The same as `print_sums`, for programs."""
    return {
        "day": day.isoformat(),
        **{verdict.value: sums.verdicts[verdict] for verdict in Verdict},
        "totals": [
            {"status": status, "currency": currency, "ours": _money(ours), "epay": _money(theirs)}
            for (status, currency), (ours, theirs) in sorted(sums.by.items())
        ],
        "differences": [_line_dict(line) for line in sums.of(Verdict.DIFFERS)],
        "not_answered": [_line_dict(line) for line in sums.of(Verdict.UNANSWERED)],
        "daily_run": _daily_dict(daily),
    }


def ours_as_dict(day: date, totals: list[Total], daily: DayProgress | None) -> dict[str, Any]:
    """The same as `print_ours`, for programs."""
    rows = [
        {"status": total.status, "currency": total.currency, "ours": _money(total)}
        for total in totals
    ]
    return {"day": day.isoformat(), "totals": rows, "daily_run": _daily_dict(daily)}


def _nothing(day: date) -> str:
    return f"No payout was accepted on {day:%F} (UTC)."


def _table(day: date, *columns: str) -> Table:
    table = Table("status", "currency", title=f"Payouts accepted on {day:%F} (UTC)")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _money(of: Any) -> dict[str, Any]:
    return {"count": of.count, "amount": f"{of.amount:f}", "fee": f"{of.fee:f}"}


def _cells(of: Any) -> tuple[str, ...]:
    return f"{of.count}", exact(of.amount), exact(of.fee)


def _line_dict(line: Line) -> dict[str, Any]:
    return {
        "merchant_order_no": line.payout.merchant_order_no,
        "status": line.payout.status.value,
        "words": list(line.compared.reasons),
    }


def _daily_words(daily: DayProgress | None) -> str:
    if daily is None:
        return "The daily comparison has not looked at this day."
    counts = (
        f"{daily.agreed} agreed, {daily.differing} differed, {daily.unanswered} were not answered"
    )
    if daily.finished_at is None:
        return f"The daily comparison is at it since {when(daily.started_at)}: {counts} so far."
    return f"The daily comparison ended {when(daily.finished_at)}: {counts}."


def _daily_dict(daily: DayProgress | None) -> dict[str, Any] | None:
    if daily is None:
        return None
    names = ("agreed", "differing", "unanswered", "started_at", "finished_at")
    return {name: getattr(daily, name) for name in names}


def _say(to: Console, words: str) -> None:
    to.print(plain(words), markup=False, highlight=False)
