"""`payouts report`: a day's payouts compared with EPAY's answer for each."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from typer import Exit, Option

from ops.commands.options import Json
from ops.connections import database
from ops.console import as_json, err, out, progress, say
from ops.daily_reconciliation import render
from ops.daily_reconciliation.compare_day import DayComparison, Pace
from ops.daily_reconciliation.csv_export import csv_file
from ops.daily_reconciliation.totals import DayTotals
from ops.errors import UserError
from ops.gateway import gateway
from shared.clock import utcnow
from shared.config.accounts import one_settings
from shared.config.builders import build_account, build_accounts, build_cipher, build_policy
from shared.config.settings import load
from shared.domain.daily_reconciliation import Verdict
from shared.storage.daily_reconciliation import ReconciliationStore
from shared.storage.payout_store import PayoutStore


def report(
    day: Annotated[
        str | None,
        Option(metavar="YYYY-MM-DD", help="The day (UTC) they were accepted on, or ended on."),
    ] = None,
    sample: Annotated[
        int | None, Option(min=1, help="Query so many, spread over the day; else all.")
    ] = None,
    csv: Annotated[
        str | None,
        Option(metavar="FILE", help="Write a line per payout compared; - for stdout."),
    ] = None,
    json: Json = False,
    ours_only: Annotated[
        bool, Option("--ours-only", help="Our totals only; EPAY is not queried.")
    ] = False,
    record: Annotated[
        bool,
        Option(
            "--record",
            help="Record like the daily comparison: differences become events and reviews, open"
            " payouts take EPAY's answer. Without it nothing is changed.",
        ),
    ] = False,
) -> None:
    """Compare a day's payouts with EPAY by query; yesterday's (UTC) unless --day says otherwise.

    Those accepted on the day are summed; those that only ended on it are compared too.

    Exit code 0: all were compared and agree; 1: a payout differs; 2: no payout differs, but some
    could not be compared.
    """
    wanted = _day(day)
    if csv == "-" and json:
        raise UserError("--csv - and --json both want stdout: give --csv a file")
    if ours_only and (csv or sample or record):
        raise UserError("--ours-only does not query EPAY: leave --csv, --sample and --record out")
    settings = load().need("database_url", "epay_account")
    to = err if csv == "-" else out
    with database(settings) as engine:
        store = ReconciliationStore(engine, build_account(one_settings(settings)))
        totals, daily = store.totals(wanted), store.find(wanted)
        if ours_only:
            if json:
                say(as_json(render.ours_as_dict(wanted, totals, daily)))
            else:
                render.print_ours(to, wanted, totals, daily)
            return
        sums = DayTotals(wanted)
        with gateway(settings) as epay, csv_file(csv) as write:
            comparison = DayComparison(
                days=store,
                store=PayoutStore(engine, build_cipher(settings)),
                policy=build_policy(one_settings(settings), build_accounts(settings)),
                query=epay.query,
                at_once=settings.epay_query_batch,
                record=record,
                pace=Pace(settings.epay_max_per_second),
            )
            count = min(store.count(wanted), sample or sys.maxsize)
            for line in progress(comparison.lines(wanted, sample), "querying EPAY", count):
                sums.add(line)
                write(line)
    if json:
        say(as_json(render.as_dict(wanted, sums, daily)))
    else:
        render.print_sums(to, wanted, sums, daily)
    if sums.verdicts[Verdict.DIFFERS]:
        raise Exit(1)
    if sums.verdicts[Verdict.UNANSWERED]:
        raise Exit(2)


def _day(text: str | None) -> date:
    today = utcnow().date()
    if text is None:
        return today - timedelta(days=1)
    try:
        wanted = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise UserError(f"--day {text} is not a day: write it as {today:%F}") from None
    if wanted > today:
        raise UserError(f"--day {text} is in the future: today is {today:%F} (UTC)")
    return wanted
