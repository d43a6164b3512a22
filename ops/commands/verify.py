"""`payouts verify`: whether the journals and the rows are still what was written."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from ops.connections import database
from ops.console import counted, say
from ops.errors import UserError
from shared.config.builders import build_cipher
from shared.config.settings import load
from shared.storage import archive as archives
from shared.storage import journal_audit


def verify(
    archive: Annotated[
        list[Path] | None,
        Option(help="Check a file of `payouts archive` instead; may be given often."),
    ] = None,
) -> None:
    """Check every payout's hash chain; name payouts altered outside the application (exit 1)."""
    settings = load()
    checked = broken = 0
    with database(settings) as engine:
        if archive:
            audits = chain.from_iterable(archives.audit_file(engine, file) for file in archive)
        else:
            audits = chain(journal_audit.audit_chains(engine, build_cipher(settings)))
        try:
            for found in audits:
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
        raise Exit(1)
    say(f"{counted(checked, 'payout')}: journal intact.")
