"""`payouts verify`: whether the journal and the rows are still what was written."""

from __future__ import annotations

import typer
from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from ops.errors import unreadable
from shared import chain
from shared.database import make_engine
from shared.settings import load


def verify() -> None:
    """Walk every payout's chain of events; name each that was changed behind our back (exit 1)."""
    settings = load().need("database_url")
    engine = make_engine(settings.database_url, pool_size=1)
    walked = broken = 0
    try:
        for found in chain.breaks(engine, settings.vault()):
            walked += 1
            if found is not None:
                broken += 1
                say(
                    f"BROKEN: payout {found.merchant_order_no} of {found.epay_account},"
                    f" at event {found.sequence}: {found.what}"
                )
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    finally:
        engine.dispose()
    if broken:
        say(f"{broken} of {walked} payouts were changed behind the journal's back.")
        raise typer.Exit(1)
    say(f"{walked} payouts: every chain holds.")
