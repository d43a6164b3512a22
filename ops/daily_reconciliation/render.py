"""The comparison of a day for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from rich.console import Console

from ops.console import counted, exact, print_table, say, when
from ops.daily_reconciliation.compare_day import Line
from ops.daily_reconciliation.totals import DayTotals
from shared.domain.daily_reconciliation import Verdict
from shared.storage.daily_reconciliation import DayProgress, Total

_UNANSWERED_ADVICE = (
    "Not answered means neither agreed nor different: run this again. If EPAY's message means `no"
    " such order`, confirm that with EPAY and add the code to EPAY_NOT_FOUND_CODES."
)


def print_sums(to: Console, day: date, sums: DayTotals, daily: DayProgress | None) -> None:
    """Both sides' sums, each difference, each payout without an answer, and the daily run."""
    _print_totals(
        to,
        day,
        (
            (status, currency, side, total)
            for (status, currency), pair in sorted(sums.by.items())
            for side, total in zip(("ours", "EPAY"), pair, strict=True)
        ),
    )
    if sums.verdicts:
        for title, verdict in (
            ("DIFFERS", Verdict.DIFFERS),
            ("not answered", Verdict.UNANSWERED),
        ):
            for line in sums.of(verdict):
                reasons = "; ".join(line.compared.reasons)
                say(f"{title}: {line.payout.merchant_order_no}: {reasons}", to)
        counts = sums.verdicts
        say(
            f"{counted(counts.total(), 'payout')} queried: {counts[Verdict.AGREED]} agreed,"
            f" {counts[Verdict.DIFFERS]} different, {counts[Verdict.UNANSWERED]} not answered.",
            to,
        )
        if sums.accepted_earlier:
            payouts = counted(sums.accepted_earlier, "payout")
            say(f"Accepted earlier, ended on {day:%F}: {payouts}, compared but not summed.", to)
        if counts[Verdict.UNANSWERED]:
            say(_UNANSWERED_ADVICE, to)
    say(_daily_run(daily), to)


def print_ours(to: Console, day: date, totals: list[Total], daily: DayProgress | None) -> None:
    """Our own sums, and the result of the daily run."""
    _print_totals(to, day, ((total.status, total.currency, "ours", total) for total in totals))
    say(_daily_run(daily), to)


def as_dict(day: date, sums: DayTotals, daily: DayProgress | None) -> dict[str, Any]:
    """The same as `print_sums`, for programs."""
    return {
        "day": day.isoformat(),
        **{verdict.value: sums.verdicts[verdict] for verdict in Verdict},
        "accepted_earlier": sums.accepted_earlier,
        "totals": [
            {"status": status, "currency": currency, "ours": _money(ours), "epay": _money(theirs)}
            for (status, currency), (ours, theirs) in sorted(sums.by.items())
        ],
        "differences": [_line_as_dict(line) for line in sums.of(Verdict.DIFFERS)],
        "not_answered": [_line_as_dict(line) for line in sums.of(Verdict.UNANSWERED)],
        "daily_run": _daily_as_dict(daily),
    }


def ours_as_dict(day: date, totals: list[Total], daily: DayProgress | None) -> dict[str, Any]:
    """The same as `print_ours`, for programs."""
    rows = [
        {"status": total.status, "currency": total.currency, "ours": _money(total)}
        for total in totals
    ]
    return {"day": day.isoformat(), "totals": rows, "daily_run": _daily_as_dict(daily)}


def _print_totals(to: Console, day: date, totals: Iterable[tuple[str, str, str, Any]]) -> None:
    """One row for each status, currency and side."""
    rows = [
        (status, currency, side, f"{total.count}", exact(total.amount), exact(total.fee))
        for status, currency, side, total in totals
    ]
    if not rows:
        say(f"No payout was accepted on {day:%F} (UTC).", to)
        return
    numbers = ("payouts", "amount", "fees")
    print_table(
        ("status", "currency", "side", *numbers),
        rows,
        title=f"Payouts accepted on {day:%F} (UTC)",
        right=numbers,
        to=to,
    )


def _money(total: Any) -> dict[str, Any]:
    return {"count": total.count, "amount": f"{total.amount:f}", "fee": f"{total.fee:f}"}


def _line_as_dict(line: Line) -> dict[str, Any]:
    return {
        "merchant_order_no": line.payout.merchant_order_no,
        "status": line.payout.status.value,
        "words": list(line.compared.reasons),
    }


def _daily_run(daily: DayProgress | None) -> str:
    if daily is None:
        return "The daily comparison has not run for this day."
    counts = f"{daily.agreed} agreed, {daily.differing} different, {daily.unanswered} not answered"
    if daily.finished_at is None:
        return f"The daily comparison runs since {when(daily.started_at)}: {counts} so far."
    return f"The daily comparison finished {when(daily.finished_at)}: {counts}."


def _daily_as_dict(daily: DayProgress | None) -> dict[str, Any] | None:
    if daily is None:
        return None
    names = ("agreed", "differing", "unanswered", "started_at", "finished_at")
    return {name: getattr(daily, name) for name in names}
