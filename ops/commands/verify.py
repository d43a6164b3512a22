"""`payouts verify`: whether the journals and the rows are still what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from ops.connections import database
from ops.console import counted, say
from ops.errors import UserError
from shared.config.builders import build_cipher
from shared.config.settings import Settings, load
from shared.storage import archive as archives
from shared.storage import journal_audit
from shared.storage.journal_audit import ChainBreak


def verify(
    archive: Annotated[
        list[Path] | None,
        typer.Option(help="Check a file of `payouts archive` instead; may be given often."),
    ] = None,
) -> None:
    """Check every payout's hash chain; name payouts altered outside the application (exit 1)."""
    settings = load()
    checked = broken = 0
    with database(settings) as engine:
        try:
            for found in _chain_breaks(engine, settings, archive or []):
                checked += 1
                if found is not None:
                    broken += 1
                    say(
                        f"BROKEN: payout {found.merchant_order_no} of {found.epay_account},"
                        f" at event {found.sequence}: {found.what}"
                    )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"an archive could not be read: {error}") from error
    if broken:
        say(f"{broken} of {counted(checked, 'payout')}: altered outside the application.")
        raise typer.Exit(1)
    say(f"{counted(checked, 'payout')}: journal intact.")


def _chain_breaks(
    engine: Engine, settings: Settings, files: list[Path]
) -> Iterator[ChainBreak | None]:
    """For each payout its break, or None."""
    if not files:
        yield from journal_audit.audit_chains(engine, build_cipher(settings))
    for file in files:
        yield from archives.audit_file(engine, file)
