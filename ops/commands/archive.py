"""`payouts archive`: move old journals from the database to files."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from typer import Option

from ops.connections import open_database
from ops.console import counted, say
from ops.errors import UserError
from shared.clock import utcnow
from shared.config.settings import load
from shared.storage import archive as archives

_AGE = re.compile(r"([1-9][0-9]{0,4})d")
_YOUNGEST = timedelta(days=30)
_STATEMENT_SECONDS = 600


def archive(
    older_than: Annotated[
        str, Option(help="Minimum age of a payout's final status, for example 400d.")
    ],
    to: Annotated[Path, Option(help="Folder for the files; keep it as long as the database.")],
    confirm: Annotated[bool, Option("--confirm", help="Do it; without this, only count.")] = False,
) -> None:
    """Move the journals of payouts that ended long ago to files (JSON lines, gzip).

    The payouts themselves stay, each with its newest event: an order number is taken for ever.
    Payouts in review, and those whose requesting app is not yet notified, are left alone.
    """
    before = utcnow() - _age(older_than)
    if not to.is_dir():
        raise UserError(f"--to {to} is not a folder: create it first (mkdir -p)")
    url = load().need("database_url").database_url
    with open_database(url, statement_timeout_seconds=_STATEMENT_SECONDS) as engine:
        if not confirm:
            payouts, events = archives.count_archivable(engine, before)
            say(
                f"{counted(payouts, 'payout')} finished before {before:%F};"
                f" {counted(events, 'event')} would leave the database. Nothing was done: add"
                " --confirm."
            )
            return
        taken = 0
        try:
            for done in archives.archive(engine, before, to, utcnow()):
                taken += done.payouts
                say(
                    f"{done.file.name}: {counted(done.payouts, 'payout')},"
                    f" {counted(done.events, 'event')}"
                )
        except OSError as error:
            raise UserError(f"the archive could not be written: {error}") from error
    say(
        f"{counted(taken, 'payout')} archived. Check the files at any time:"
        " payouts verify --archive FILE"
    )


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    age = timedelta(days=int(found[1])) if found else timedelta(0)
    if age < _YOUNGEST:
        raise UserError(f"--older-than takes days, at least {_YOUNGEST.days}d, for example 400d")
    return age
