"""`payouts batch`: the payouts of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from typer import Argument, Exit, Option

from ops.batch import output
from ops.batch.csv_reader import STDIN, Sheet, opened
from ops.batch.result_file import result_file
from ops.batch.row_validation import (
    Line,
    RowValidator,
    RowVerdict,
    add_results,
    good_payouts,
)
from ops.batch.submission import Sender, compare_with_stored
from ops.connections import database, token_of
from ops.console import counted, fail, note, progress
from ops.errors import UserError
from ops.wording.channels import undocumented
from shared.clock import utcnow
from shared.config.builders import build_accounts, build_cipher, build_policy
from shared.config.settings import Settings, load
from shared.messaging.celery_config import make_celery
from shared.messaging.owner import refuse_other_owner
from shared.producer import publish_submit

_CHUNK = 500
"""Rows per database query, and payouts per commit."""
_INTERRUPTED = 130


def batch(
    file: Annotated[str, Argument(help="A CSV file in UTF-8; - for stdin.")],
    confirm: Annotated[
        bool, Option("--confirm", help="Send it. Without this, only check it.")
    ] = False,
    skip_bad: Annotated[
        bool, Option("--skip-bad", help="Send the good rows even if others are bad.")
    ] = False,
    allow_alike: Annotated[
        bool,
        Option(
            "--allow-alike",
            help="Send rows whose order number equals an earlier one but for case, leading zeros"
            " or .0, and rows with a number that a spreadsheet may have changed.",
        ),
    ] = False,
    result: Annotated[
        Path | None,
        Option(help="Write a verdict for each row here; with --confirm: by default beside FILE."),
    ] = None,
    json: Annotated[bool, Option("--json", help="Print JSON, with every bad row.")] = False,
) -> None:
    """Check a CSV file of payouts; with --confirm send it.

    The first line names the columns: merchant_order_no, amount, currency,
    channel_code, account_no; optional: remark, epay_account, notify_task,
    notify_queue. Rows are numbered by the lines of the file; the first line
    is row 1. Amounts are plain decimals: 10.50.

    It is safe to interrupt and repeat: an order number is paid once.

    Exit codes: 0 every row is good; 1 some are bad; 2 it could not be done;
    130 interrupted.
    """
    settings = load().need("database_url", "epay_account")
    if confirm:
        settings.need("redis_url")
    result = result or (_beside(file) if confirm else None)
    with opened(file) as source, database(settings) as engine:
        if confirm and (problem := refuse_other_owner(settings, token_of(engine))) is not None:
            raise UserError(f"nothing was sent: {problem}")
        run = _Run(settings, engine, Sheet(source), json=json, allow_alike=allow_alike)
        try:
            run.check(result)
            if confirm and not run.refused(skip_bad=skip_bad):
                run.send(result)
        except KeyboardInterrupt:
            fail(f"interrupted: {run.so_far()}")
            raise Exit(_INTERRUPTED) from None
        except SQLAlchemyError:
            note(f"stopped: {run.so_far()}")
            raise
    run.report(confirm=confirm, result=result)
    if run.totals.counts[RowVerdict.BAD]:
        raise Exit(1)


def _beside(file: str) -> Path:
    if file == STDIN:
        raise UserError("stdin has no name: name the result file with --result")
    return Path(f"{file.removesuffix('.csv')}.result.csv")


class _Run:
    """One run over one file: check all of it, then send all of it."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        sheet: Sheet,
        *,
        json: bool,
        allow_alike: bool,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._cipher = build_cipher(settings)
        self._accounts = build_accounts(settings)
        self._sheet = sheet
        self._json = json
        self._allow_alike = allow_alike
        self._bad = output.BadRows(json=json)
        self._notes: list[str] = []
        self._is_sending = False
        self.totals = output.Totals()

    def check(self, result: Path | None) -> None:
        """Give each row its verdict; change nothing."""
        with result_file(result) as write:
            for line in progress(self._checked_lines(), "checking"):
                self.totals.add(line)
                self._bad.add(line)
                write(line)
        self._bad.end()
        if warning := undocumented(channel for _, _, channel in self.totals.sums):
            self._notes.append(warning)

    def refused(self, *, skip_bad: bool) -> bool:
        """Whether bad rows forbid sending; notes it."""
        bad = self.totals.counts[RowVerdict.BAD]
        if bad and not skip_bad:
            self._notes.append(
                f"Nothing was sent because of {counted(bad, 'bad row')}. Fix the file and run this"
                " again, or send the other rows with --skip-bad."
            )
            return True
        return False

    def send(self, result: Path | None) -> None:
        """Accept the good rows that are new, chunk by chunk."""
        celery = make_celery("payouts-batch", self._settings)
        sender = Sender(
            self._engine,
            self._cipher,
            build_policy(self._settings).lease,
            lambda payout_id: publish_submit(celery, payout_id),
            self._accounts,
            self._allow_alike,
        )
        checked, self.totals, self._is_sending = self.totals, output.Totals(), True
        with result_file(result) as write:
            for line in progress(self._sent_lines(sender), "sending", checked.rows):
                self.totals.add(line)
                write(line)
        if turned_bad := self.totals.counts[RowVerdict.BAD] - checked.counts[RowVerdict.BAD]:
            self._notes.append(
                f"{counted(turned_bad, 'row')} turned bad while sending: see the result file."
            )
        if sender.not_notified:
            self._notes.append(
                "The broker at REDIS_URL accepted no wake-up message for"
                f" {counted(sender.not_notified, 'payout')}: the sweep sends them."
            )

    def so_far(self) -> str:
        """What was done before it stopped."""
        if not self._is_sending:
            return "nothing was sent"
        return (
            f"{counted(self.totals.counts[RowVerdict.ACCEPTED], 'payout')}, or up to {_CHUNK} more,"
            " were accepted and will be paid. Run the same command again for the rest: no payout"
            " is paid twice"
        )

    def report(self, *, confirm: bool, result: Path | None) -> None:
        """Print the totals and the next steps."""
        if result is not None:
            self._notes.append(f"A verdict for each row is in {result}.")
        if not confirm and self.totals.rows:
            bad = self.totals.counts[RowVerdict.BAD]
            fix = f" Fix {counted(bad, 'bad row')}, or skip with --skip-bad." if bad else ""
            self._notes.append(f"Nothing was sent yet: run this again with --confirm.{fix}")
        blank = self._sheet.blank_lines
        if self._json:
            output.print_json(
                self.totals, blank, self._bad, self._notes, confirmed=self._is_sending
            )
        else:
            output.print_totals(self.totals, blank)
            for text in self._notes:
                note(text)

    def _checked_lines(self) -> Iterator[Line]:
        for chunk in self._chunks():
            stored = compare_with_stored(
                self._engine,
                self._cipher,
                good_payouts(chunk),
                self._accounts,
                allow_alike=self._allow_alike,
            )
            yield from add_results(chunk, stored)

    def _sent_lines(self, sender: Sender) -> Iterator[Line]:
        for chunk in self._chunks():
            yield from add_results(chunk, sender.send(good_payouts(chunk)))

    def _chunks(self) -> Iterator[list[Line]]:
        validator = RowValidator(self._accounts, utcnow(), allow_alike=self._allow_alike)
        lines = map(validator.validate, self._sheet.rows())
        while chunk := list(islice(lines, _CHUNK)):
            yield chunk
