"""The demo's output: a live table during the run, and the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.table import Column, Table

from ops.console import print_facts, print_table, say
from ops.demo.scenario import FAULTS
from ops.demo.verify import Verdict
from shared.domain.payout import Status
from shared.domain.transitions import FINAL


def live_table(
    requested: int, rows: Mapping[str, Status], notified: int, seconds: float, note: str = ""
) -> Table:
    """The state of the payouts at this moment; `note` says what holds them up."""
    counts = Counter(rows.values())
    table = Table("status", Column("payouts", justify="right"), Column("", width=36))
    table.title = f"{requested} payouts, {seconds:.0f} s"
    table.caption = note
    table.add_row("waiting in Redis", str(requested - len(rows)))
    for status in Status:
        if counts[status] or status not in FINAL:
            bar = "█" * round(36 * counts[status] / max(requested, 1))
            table.add_row(status.value, str(counts[status]), bar)
    table.add_row("requesting app notified", str(notified))
    return table


def print_summary(verdict: Verdict, seconds: float) -> None:
    """Print every fault with its result, the totals, and each payout that is not right."""
    by_fault = sorted(verdict.by_fault.items(), key=lambda item: item[0] is None)
    print_table(
        ("fault", "the gateway", "payouts", "ended"),
        (
            (
                fault or "none",
                FAULTS[fault].effect if fault else "",
                str(sum(statuses.values())),
                ", ".join(f"{count} {status}" for status, count in statuses.items()),
            )
            for fault, statuses in by_fault
        ),
        title="\nFaults",
        right={"payouts"},
        fold={"the gateway", "ended"},
    )
    say("\nTotals")
    totals = [(name, str(count)) for name, count in verdict.totals.items()]
    print_facts([*totals, ("seconds", f"{seconds:.1f}")])
    for breach in verdict.broken:
        say(f"BROKEN: {breach}")
    for missing in verdict.unfinished:
        say(f"not finished in time: {missing}")
