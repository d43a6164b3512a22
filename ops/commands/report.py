"""`payouts report`: a day's payouts against EPAY's own word for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from ops.connections import database
from ops.console import as_json, err, out, say
from ops.daily_reconciliation import render
from ops.daily_reconciliation.compare_day import DayComparison, Line, Pace
from ops.daily_reconciliation.csv_export import CsvLines
from ops.daily_reconciliation.totals import DayTotals
from ops.errors import UserError
from shared.clock import utcnow
from shared.config.builders import build_cipher, build_epay_config, build_policy
from shared.config.settings import load
from shared.domain.daily_reconciliation import Verdict
from shared.epay.client import EpayClient
from shared.storage.daily_reconciliation import ReconciliationStore
from shared.storage.payout_store import PayoutStore


def report(
    day: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="The day (UTC) the payouts were accepted on."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Ask for so many, spread over the day; else all.")
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a line per payout compared; - for stdout."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ours_only: Annotated[
        bool, typer.Option("--ours-only", help="Our totals alone; EPAY is not asked.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Also do what the daily comparison does: put differences on record, flag them for"
            " review, let open payouts take EPAY's answer. Without it nothing is changed.",
        ),
    ] = False,
) -> None:
    """Compare a day's payouts with EPAY by query; yesterday's (UTC) unless --day says other.

    Exit code 0: all were compared and agree; 1: something differs; 2: nothing differs, but not all
    could be compared.
    """
    wanted = _day(day)
    if csv == "-" and json:
        raise UserError("--csv - and --json both want stdout: give --csv a file")
    if ours_only and (csv or sample or record):
        raise UserError("--ours-only asks nothing of EPAY: leave --csv, --sample and --record out")
    settings = load().need("database_url", "epay_account")
    to = err if csv == "-" else out
    with ExitStack() as stack:
        engine = stack.enter_context(database(settings))
        books = ReconciliationStore(engine, settings.epay_account)
        totals, daily = books.totals(wanted), books.find(wanted)
        if ours_only:
            if json:
                say(as_json(render.ours_as_dict(wanted, totals, daily)))
            else:
                render.print_ours(to, wanted, totals, daily)
            return
        client = EpayClient(build_epay_config(settings))
        stack.callback(client.close)
        walk = DayComparison(
            books=books,
            store=PayoutStore(engine, build_cipher(settings)),
            policy=build_policy(settings),
            query=client.query,
            at_once=settings.epay_query_batch,
            record=record,
            pace=Pace(settings.epay_max_per_second),
        )
        count = sum(total.count for total in totals)
        lines = walk.lines(wanted, sample)
        sums = _sums(lines, count if sample is None else min(count, sample), csv)
    if json:
        say(as_json(render.as_dict(wanted, sums, daily)))
    else:
        render.print_sums(to, wanted, sums, daily)
    if sums.verdicts[Verdict.DIFFERS]:
        raise typer.Exit(1)
    if sums.verdicts[Verdict.UNANSWERED]:
        raise typer.Exit(2)


def _day(text: str | None) -> date:
    today = utcnow().date()
    if text is None:
        return today - timedelta(days=1)
    try:
        wanted = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise UserError(f"--day {text} is no day: write it as {today:%F}") from None
    if wanted > today:
        raise UserError(f"--day {text} is not yet: today is {today:%F} (UTC)")
    return wanted


def _sums(lines: Iterator[Line], count: int, csv: str | None) -> DayTotals:
    """Walk the day, with a bar on a terminal alone; the lines go to the CSV as they come."""
    sums = DayTotals()
    with ExitStack() as stack:
        written = _csv(csv, stack)
        for line in track(
            lines,
            description="asking EPAY",
            total=count,
            console=err,
            transient=True,
            disable=not err.is_terminal,
        ):
            sums.add(line)
            if written is not None:
                written.add(line)
    return sums


def _csv(name: str | None, stack: ExitStack) -> CsvLines | None:
    if name is None:
        return None
    if name == "-":
        return CsvLines(sys.stdout)
    try:
        file = Path(name).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - the stack closes it
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}") from error
    return CsvLines(stack.enter_context(file))
