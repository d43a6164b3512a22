"""`payouts archive`: old journals go to files, and the database stays small."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from ops.errors import UserError, unreadable
from shared.clock import utcnow
from shared.config.settings import load
from shared.storage import archive as archives
from shared.storage.engine import make_engine

_AGE = re.compile(r"([1-9][0-9]{0,4})d")
_YOUNGEST = timedelta(days=30)


def archive(
    older_than: Annotated[
        str, typer.Option(help="How long ago a payout must have ended, for example 400d.")
    ],
    to: Annotated[
        Path, typer.Option(help="The folder for the files; keep it as long as the database.")
    ],
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it; without it, count.")] = False,
) -> None:
    """Move the journals of payouts that ended long ago to files (JSON lines, gzip).

    The payouts themselves stay, each with its newest event: an order number is taken for ever.
    What is in review, or was not told to its asking app yet, is left alone.
    """
    before = utcnow() - _age(older_than)
    if not to.is_dir():
        raise UserError(f"--to names no folder: {to} (make it first: mkdir -p)")
    settings = load().need("database_url")
    engine = make_engine(settings.database_url, pool_size=1, statement_timeout_seconds=600)
    try:
        if not confirm:
            payouts, events = archives.count_archivable(engine, before)
            say(
                f"{payouts} payouts ended before {before:%F}; {events} events would leave the"
                " database. Nothing was done: add --confirm."
            )
            return
        taken = 0
        for done in archives.archive(engine, before, to, utcnow()):
            taken += done.payouts
            say(f"{done.file.name}: {done.payouts} payouts, {done.events} events")
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    except OSError as error:
        raise UserError(f"the archive could not be written: {error}") from error
    finally:
        engine.dispose()
    say(f"{taken} payouts archived. Check the files at any time: payouts verify --archive FILE")


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    age = timedelta(days=int(found[1])) if found else timedelta(0)
    if age < _YOUNGEST:
        raise UserError(f"--older-than takes days, {_YOUNGEST.days}d at least, for example 400d")
    return age
