"""How a pause ends, for the person who reads of it. Pure."""

from __future__ import annotations

import shlex
from dataclasses import astuple

from shared.storage.pauses import DATABASE_CHANGED, REFUSED_BY_EPAY, Pause


def how_to_lift(pause: Pause) -> str:
    """What lifts the pause, with the command."""
    if pause.code == DATABASE_CHANGED:
        return "`payouts recover` lifts it"
    options = zip(("--account", "--channel", "--currency"), astuple(pause.scope), strict=True)
    given = [f"{option} {shlex.quote(value)}" for option, value in options if value is not None]
    resume = f"`{' '.join(['payouts resume', *given])}` lifts it"
    if pause.code != REFUSED_BY_EPAY:
        return resume
    return (
        "it ends by itself when EPAY shows again a payout that it ended: check key, account and"
        f" address with `payouts doctor`; {resume} at once, until EPAY refuses again"
    )
