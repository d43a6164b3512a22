"""`payouts batch`: many payouts out of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.batch import existing, output
from ops.batch.csv_reader import STDIN, Sheet, opened
from ops.batch.result_file import result_file
from ops.batch.row_validation import Line, RowValidator, RowVerdict
from ops.batch.submission import Sender
from ops.batch.totals import Totals
from ops.connections import database
from ops.console import fail, note
from ops.errors import UserError
from ops.wording.channels import undocumented
from shared.clock import utcnow
from shared.config.builders import build_cipher, build_policy
from shared.config.settings import Settings, load
from shared.messaging.celery_config import make_celery
from shared.producer import publish_submit

_CHUNK = 500
"""Rows in one look at the database, and payouts in one commit."""
_INTERRUPTED = 130


def batch(
    file: Annotated[str, typer.Argument(help="A CSV file in UTF-8; - for stdin.")],
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Send it. Without this nothing is sent.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Send the good rows although others are bad.")
    ] = False,
    result: Annotated[
        Path | None,
        typer.Option(help="Write a verdict for each row here. With --confirm it is beside FILE."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, every bad row in it.")] = False,
) -> None:
    """Check a CSV file of payouts; with --confirm send it.

    The first line names the columns: merchant_order_no, amount, currency,
    channel_code, account_no; if you like remark, epay_account, notify_task,
    notify_queue. A row is named by its line in the file, the first line being
    row 1. Amounts are plain decimals: 10.50.

    Interrupt it and run it again as you like: an order number is paid once.

    Exit codes: 0 every row is good; 1 some are bad; 2 it could not be done;
    130 interrupted.
    """
    settings = load().need("database_url", "epay_account")
    if confirm:
        settings.need("redis_url")
    result = result or (_beside(file) if confirm else None)
    with opened(file) as source, database(settings) as engine:
        run = _Run(settings, engine, Sheet(source), json=json)
        try:
            run.check(result)
            if confirm and not run.refused(skip_bad=skip_bad):
                run.send(result)
        except KeyboardInterrupt:
            fail(f"interrupted: {run.so_far()}")
            raise typer.Exit(_INTERRUPTED) from None
        except SQLAlchemyError:
            note(f"it broke off: {run.so_far()}")
            raise
    run.tell(confirm=confirm, result=result)
    if run.totals.said[RowVerdict.BAD]:
        raise typer.Exit(1)


def _beside(file: str) -> Path:
    if file == STDIN:
        raise UserError("what comes on stdin has no name: say with --result where the result goes")
    return Path(f"{file.removesuffix('.csv')}.result.csv")


class _Run:
    """One run over one file: first all of it is checked, then all of it is sent."""

    def __init__(self, settings: Settings, engine: Engine, sheet: Sheet, *, json: bool) -> None:
        self._settings = settings
        self._engine = engine
        self._vault = build_cipher(settings)
        self._sheet = sheet
        self._json = json
        self._bad = output.BadRows(json=json)
        self._words: list[str] = []
        self._is_sending = False
        self.totals = Totals()

    def check(self, result: Path | None) -> None:
        """Give each row its verdict; nothing is changed."""
        totals, bad = Totals(), self._bad
        with output.progress("checking", None) as come_to, result_file(result) as written:
            for chunk in self._chunks():
                for line in existing.against_history(self._engine, self._vault, chunk):
                    totals.add(line)
                    bad.add(line)
                    written(line)
                come_to(totals.rows)
        bad.end()
        self.totals = totals
        if mind := undocumented(channel for _, _, channel in totals.sums):
            self._words.append(mind)

    def refused(self, *, skip_bad: bool) -> bool:
        """Whether nothing may be sent because of bad rows."""
        bad = self.totals.said[RowVerdict.BAD]
        if bad and not skip_bad:
            self._words.append(
                f"Nothing was sent: {bad} row(s) are bad. Mend them and run it again, or send the"
                " others with --skip-bad."
            )
            return True
        return False

    def send(self, result: Path | None) -> None:
        """Take in what is good and not there, chunk after chunk."""
        celery = make_celery("payouts-batch", self._settings)
        sender = Sender(
            self._engine,
            self._vault,
            build_policy(self._settings).lease,
            lambda payout_id: publish_submit(celery, payout_id),
        )
        checked, self.totals, self._is_sending = self.totals, Totals(), True
        with output.progress("sending", checked.rows) as come_to, result_file(result) as written:
            for chunk in self._chunks():
                admitted = sender.send(existing.good(chunk))
                for line in existing.answered(chunk, admitted):
                    self.totals.add(line)
                    written(line)
                come_to(self.totals.rows)
        if turned := self.totals.said[RowVerdict.BAD] - checked.said[RowVerdict.BAD]:
            self._words.append(f"{turned} row(s) turned bad while it was sent: see the result.")
        if sender.untold:
            self._words.append(
                f"The broker at REDIS_URL took no hint for {sender.untold} payout(s): they are"
                " accepted, and the sweep sends them."
            )

    def so_far(self) -> str:
        """What to say when it ends before its end."""
        if not self._is_sending:
            return "nothing was sent"
        return (
            f"{self.totals.said[RowVerdict.ACCEPTED]} payout(s), or up to {_CHUNK} more, were"
            " accepted and will be paid. Run the same command again for the rest: none is paid"
            " twice"
        )

    def tell(self, *, confirm: bool, result: Path | None) -> None:
        """The answer."""
        if result is not None:
            self._words.append(f"A verdict for each row is in {result}.")
        if not confirm and self.totals.rows:
            bad = self.totals.said[RowVerdict.BAD]
            mend = f" Mend the {bad} bad row(s), or leave them out with --skip-bad." if bad else ""
            self._words.append(f"Nothing was sent yet: run it again with --confirm.{mend}")
        blank = self._sheet.blank_lines
        if self._json:
            output.print_json(
                self.totals, blank, self._bad, self._words, confirmed=self._is_sending
            )
        else:
            output.print_totals(self.totals, blank)
            output.print_next_steps(self._words)

    def _chunks(self) -> Iterator[list[Line]]:
        judge = RowValidator(self._sheet.columns, self._settings.epay_account, utcnow())
        lines = map(judge.validate, self._sheet.rows())
        while chunk := list(islice(lines, _CHUNK)):
            yield chunk
