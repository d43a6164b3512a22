"""`payouts list`: many payouts, by what they have in common."""

from __future__ import annotations

import csv as csvs
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Annotated, Any

import typer
from rich.table import Table

from ops.connections import database
from ops.console import as_json, note, out, plain, say, when
from ops.csv_safety import defused
from ops.errors import UserError
from shared.clock import utcnow
from shared.config.builders import build_cipher
from shared.config.settings import load
from shared.domain import review
from shared.domain.payout import PayoutState, Status
from shared.observability.logging import mask
from shared.storage import queries
from shared.storage.queries import PayoutFilter

CODES = sorted(
    value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
)


def list_(
    status: Annotated[
        list[Status] | None, typer.Option(help="Only these; may be given several times.")
    ] = None,
    in_review: Annotated[
        bool, typer.Option("--review", help="Only those that need a person.")
    ] = False,
    review_code: Annotated[
        list[str] | None,
        typer.Option(help="Only those in review for this; may be given several times."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Accepted on this day or later (UTC): 2026-11-23.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Accepted on this day or before (UTC): 2026-11-23.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="For example USD.")] = None,
    channel: Annotated[
        str | None, typer.Option(help="EPAY's channel code, for example 11.")
    ] = None,
    epay_account: Annotated[
        str | None, typer.Option("--account", "--epay-account", help="Only of this EPAY account.")
    ] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Only those that should have been looked at by now.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List payouts, those accepted last first. Account numbers are masked."""
    if json and csv:
        raise UserError("--json and --csv are two ways to print one thing: give one of them")
    wanted = PayoutFilter(
        statuses=status or (),
        in_review=in_review,
        review_codes=_codes(review_code or []),
        since=_moment(since, "--since"),
        until=_moment(until, "--until", ends_day=True),
        currency=currency,
        channel_code=channel,
        epay_account=epay_account,
        due_by=utcnow() if due else None,
    )
    settings = load()
    asked = limit + 1 if limit else 0
    with (
        database(settings) as engine,
        closing(queries.newest(engine, build_cipher(settings), wanted, asked)) as found,
    ):
        shown = islice(found, limit) if limit else found
        if csv:
            _print_csv(shown)
        elif json:
            say(as_json([_as_dict(payout) for payout in shown]))
        else:
            _print(list(shown))
        if next(found, None) is not None:
            note(f"There are more than {limit}: narrow the list, or give --limit (0 for all).")


def _codes(given: list[str]) -> list[str]:
    for code in given:
        if code not in CODES:
            raise UserError(f"--review-code {code} is none of {', '.join(CODES)}")
    return given


def _moment(text: str | None, option: str, *, ends_day: bool = False) -> datetime | None:
    """A day or a time; UTC where it does not say. A day that ends the span belongs to it."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-23"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if ends_day else day
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"{option} {text} is no ISO date: write 2026-11-23 or 2026-11-23T14:30:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print(payouts: list[PayoutState]) -> None:
    if not payouts:
        say("No payout is like that.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("order", "status", "amount", "channel", "account", "accepted (UTC)", "next look"):
        table.add_column(name, justify="right" if name == "amount" else "left", overflow="fold")
    table.add_column("needs a person for", overflow="fold")
    for payout in payouts:
        table.add_row(
            plain(payout.merchant_order_no),
            payout.status.value,
            f"{payout.amount} {payout.currency}",
            plain(payout.channel_code),
            mask(payout.account_no),
            when(payout.created_at),
            when(payout.due_at),
            review.code_of(payout.review_reason or ""),
        )
    out.print(table, markup=False, highlight=False)


def _print_csv(payouts: Iterable[PayoutState]) -> None:
    writer = csvs.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for payout in payouts:
        writer.writerow([_cell(value) for value in _as_dict(payout).values()])


def _cell(value: object) -> str:
    """A value as a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return defused(value.isoformat() if isinstance(value, datetime) else plain(str(value)))


_COLUMNS = (
    "merchant_order_no",
    "epay_account",
    "status",
    "amount",
    "currency",
    "channel_code",
    "account_no",
    "epay_order_no",
    "fee",
    "created_at",
    "finished_at",
    "due_at",
    "review_reason",
    "review_since",
)


def _as_dict(payout: PayoutState) -> dict[str, Any]:
    row = {name: getattr(payout, name) for name in _COLUMNS}
    return row | {"status": payout.status.value, "account_no": mask(payout.account_no)}
