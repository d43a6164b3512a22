"""`payouts verify`: whether the journal and the rows are still what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from ops.errors import UserError, unreadable
from shared.config.builders import build_cipher
from shared.config.settings import Settings, load
from shared.storage import archive as archives
from shared.storage import journal_audit
from shared.storage.engine import make_engine


def verify(
    archive: Annotated[
        list[Path] | None,
        typer.Option(help="Check a file of `payouts archive` instead; may be given often."),
    ] = None,
) -> None:
    """Walk every payout's chain of events; name each that was changed behind our back (exit 1)."""
    settings = load().need("database_url")
    engine = make_engine(settings.database_url, pool_size=1)
    walked = broken = 0
    try:
        for found in _walk(engine, settings, archive or []):
            walked += 1
            if found is not None:
                broken += 1
                say(
                    f"BROKEN: payout {found.merchant_order_no} of {found.epay_account},"
                    f" at event {found.sequence}: {found.what}"
                )
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"an archive could not be read: {error}") from error
    finally:
        engine.dispose()
    if broken:
        say(f"{broken} of {walked} payouts were changed behind the journal's back.")
        raise typer.Exit(1)
    say(f"{walked} payouts: every chain holds.")


def _walk(
    engine: Engine, settings: Settings, files: list[Path]
) -> Iterator[journal_audit.ChainBreak | None]:
    if not files:
        yield from journal_audit.audit_chains(engine, build_cipher(settings))
    for file in files:
        yield from archives.audit_file(engine, file)
