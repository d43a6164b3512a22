"""What the demo shows: a live table while it runs, and the closing summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.table import Table

from ops.demo.verify import Verdict
from shared.domain.payout import Status
from shared.domain.transitions import FINAL


def live_table(
    asked: int, rows: Mapping[str, Status], told: int, seconds: float, note: str
) -> Table:
    """How the payouts stand at this moment."""
    counts = Counter(rows.values())
    table = Table(title=f"{asked} payouts, {seconds:.0f} s", caption=note)
    table.add_column("status")
    table.add_column("payouts", justify="right")
    table.add_column("", width=40)
    table.add_row("waiting in the queue", str(asked - len(rows)), "")
    for status in Status:
        if counts[status] or status not in FINAL:
            bar = "█" * round(40 * counts[status] / max(asked, 1))
            table.add_row(status.value, str(counts[status]), bar)
    table.add_row("told to the asking app", str(told), "")
    return table


def summary(verdict: Verdict, seconds: float) -> Table:
    """The closing summary."""
    table = Table(title="Summary", show_header=False)
    table.add_column("what")
    table.add_column("payouts", justify="right")
    table.add_row("asked for", str(verdict.asked))
    for status, count in sorted(verdict.by_status.items()):
        table.add_row(f"  {status}", str(count))
    table.add_row("sent to EPAY", str(verdict.sent))
    table.add_row("paid once", str(verdict.paid_once))
    table.add_row("paid twice", str(verdict.paid_twice))
    table.add_row("still open", str(verdict.still_open))
    table.add_row("told to the asking app", str(verdict.told))
    table.add_row("seconds", f"{seconds:.1f}")
    return table
