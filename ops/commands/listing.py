"""`payouts list`: payouts by status, review code, day, currency, channel or account."""

from __future__ import annotations

import csv as csvs
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Annotated, Any

from typer import Option

from ops.commands.options import Account, Json
from ops.connections import database
from ops.console import as_json, defused, note, out, plain, print_table, say, when
from ops.errors import UserError
from shared.clock import utcnow
from shared.config.builders import build_cipher
from shared.config.settings import load
from shared.domain import review
from shared.domain.payout import PayoutState, Status
from shared.observability.logging import mask
from shared.storage import queries, refused_requests
from shared.storage.queries import PayoutFilter

_HEADINGS = (
    "order",
    "status",
    "amount",
    "review code",
    "accepted (UTC)",
    "channel",
    "account",
    "next check (UTC)",
)
"""By importance: a narrow terminal shows the first ones only."""
_FEWEST_COLUMNS = 3
CODES = sorted(
    value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
)


def list_(
    status: Annotated[
        list[Status] | None, Option(help="Only this status; may be given several times.")
    ] = None,
    in_review: Annotated[bool, Option("--review", help="Only payouts in review.")] = False,
    review_code: Annotated[
        list[str] | None,
        Option(help="Only payouts in review for this code; may be given several times."),
    ] = None,
    since: Annotated[
        str | None, Option(help="Accepted on this day or later (UTC): 2026-11-23.")
    ] = None,
    until: Annotated[
        str | None, Option(help="Accepted on this day or before (UTC): 2026-11-23.")
    ] = None,
    currency: Annotated[str | None, Option(help="For example USD.")] = None,
    channel: Annotated[str | None, Option(help="EPAY's channel code, for example 11.")] = None,
    epay_account: Account = None,
    due: Annotated[bool, Option("--due", help="Only payouts whose next check is overdue.")] = False,
    limit: Annotated[int, Option(min=0, help="How many at most; 0 for all.")] = 50,
    json: Json = False,
    csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    refused: Annotated[
        bool,
        Option(
            "--refused",
            help="Requests that were refused as invalid, in place of payouts; --since, --until and"
            " --limit apply.",
        ),
    ] = False,
) -> None:
    """List payouts, the newest first. Account numbers are masked."""
    if json and csv:
        raise UserError("--json and --csv exclude each other: give one of them")
    if refused:
        if csv or status or in_review or review_code or currency or channel or epay_account or due:
            raise UserError("--refused goes with --since, --until, --limit and --json only")
        _list_refused(
            parse_moment(since, "--since"),
            parse_moment(until, "--until", ends_day=True),
            limit,
            json,
        )
        return
    wanted = PayoutFilter(
        statuses=status or (),
        in_review=in_review,
        review_codes=parse_codes(review_code or []),
        since=parse_moment(since, "--since"),
        until=parse_moment(until, "--until", ends_day=True),
        currency=currency,
        channel_code=channel,
        epay_account=epay_account,
        due_by=utcnow() if due else None,
    )
    settings = load()
    with (
        database(settings) as engine,
        closing(
            queries.newest(engine, build_cipher(settings), wanted, limit + 1 if limit else 0)
        ) as found,
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


def _list_refused(since: datetime | None, until: datetime | None, limit: int, json: bool) -> None:
    with database(load()) as engine:
        found = refused_requests.newest(
            engine, since=since, until=until, limit=limit + 1 if limit else 0
        )
    shown = found[:limit] if limit else found
    if json:
        say(as_json([asdict(refusal) for refusal in shown]))
    elif shown:
        rows = [
            (
                when(one.at),
                one.merchant_order_no,
                one.account_no,
                one.source,
                f"{one.field}: {one.message}",
            )
            for one in shown
        ]
        headings = ("refused (UTC)", "order", "account", "sent by", "reason")
        print_table(headings, rows, fold={"order", "sent by", "reason"})
    else:
        say("No refused request matches.")
    if len(found) > len(shown):
        note(f"There are more than {limit}: narrow the list, or give --limit (0 for all).")


def parse_codes(given: list[str]) -> list[str]:
    """Review codes; raises UserError for one that does not exist."""
    for code in given:
        if code not in CODES:
            raise UserError(f"--review-code {code} is not one of {', '.join(CODES)}")
    return given


def parse_moment(text: str | None, option: str, *, ends_day: bool = False) -> datetime | None:
    """A day or a time, in UTC unless it has an offset. The last day belongs to the span."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-23"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if ends_day else day
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"{option} {text} is not an ISO date: write 2026-11-23 or 2026-11-23T14:30:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print(payouts: list[PayoutState]) -> None:
    if not payouts:
        say("No payout matches.")
        return
    rows = [_cells(payout) for payout in payouts]
    shown = _fitting_columns(rows)
    print_table(_HEADINGS[:shown], (row[:shown] for row in rows), right={"amount"}, fold={"order"})


def _fitting_columns(rows: list[tuple[str, ...]]) -> int:
    """How many columns fit the terminal side by side, and no fewer than the first three."""
    width = 0
    for nth, cells in enumerate(zip(_HEADINGS, *rows, strict=True)):
        width += max(map(len, cells))
        if width > out.width and nth >= _FEWEST_COLUMNS:
            return nth
        width += len("  ")
    return len(_HEADINGS)


def _cells(payout: PayoutState) -> tuple[str, ...]:
    return (
        payout.merchant_order_no,
        payout.status.value,
        f"{payout.amount} {payout.currency}",
        review.code_of(payout.review_reason or ""),
        when(payout.created_at),
        payout.channel_code,
        mask(payout.account_no),
        when(payout.due_at),
    )


def _print_csv(payouts: Iterable[PayoutState]) -> None:
    writer = csvs.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for payout in payouts:
        writer.writerow([_cell(value) for value in _as_dict(payout).values()])


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
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
