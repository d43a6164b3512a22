"""`payouts pause` and `payouts resume`: a person stops new sends, and lets them go on."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from ops.connections import database
from ops.console import say, when
from ops.errors import UserError
from shared.clock import utcnow
from shared.config.settings import load
from shared.contract import ChannelCode, Currency, EpayAccount
from shared.storage import pauses
from shared.storage.pauses import AlreadyPaused, NotPaused, Pause, Scope

_LONGEST_WORDS = 500
_TYPES: dict[str, tuple[TypeAdapter[str], str]] = {
    "--account": (TypeAdapter(EpayAccount), "an EPAY account, for example shop@example.com"),
    "--channel": (TypeAdapter(ChannelCode), "EPAY's code of a wallet system, for example 11"),
    "--currency": (TypeAdapter(Currency), "capital letters, for example USD"),
}

Account = Annotated[
    str | None, typer.Option("--account", help="Only payouts of this EPAY account.")
]
Channel = Annotated[
    str | None, typer.Option("--channel", help="Only payouts over this channel, EPAY's code.")
]
OfCurrency = Annotated[
    str | None, typer.Option("--currency", help="Only payouts in this currency.")
]
Name = Annotated[str, typer.Option("--name", help="Who you are; it goes on record.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record.")]


def pause(
    name: Name,
    reason: Reason,
    account: Account = None,
    channel: Channel = None,
    currency: OfCurrency = None,
) -> None:
    """Send nothing new: of all payouts, or of those that agree with every option given.

    Two seconds after this returns nothing new reaches EPAY. What was sent is followed on, and
    requests are accepted; they wait. `payouts resume` with the same options ends it.
    """
    scope = _scope(account, channel, currency)
    by, why = _words("--name", name), _words("--reason", reason)
    with database(load()) as engine:
        try:
            pauses.pause(engine, scope, by, why, utcnow())
        except AlreadyPaused as error:
            raise UserError(
                f"{_told(error.standing)}. Nothing was changed; `payouts resume` ends it"
            ) from error
        waiting = pauses.count_waiting(engine, scope)
    say(f"Paused: {scope}. {waiting} payout(s) that it holds wait now; what was sent is followed.")
    if account is not None and account != load().epay_account:
        say(f"Mind: EPAY_ACCOUNT is not {account} here; only workers of that account are held.")


def resume(
    name: Name,
    reason: Reason,
    account: Account = None,
    channel: Channel = None,
    currency: OfCurrency = None,
) -> None:
    """Let go on what `payouts pause` with just these options stopped."""
    scope = _scope(account, channel, currency)
    by, why = _words("--name", name), _words("--reason", reason)
    with database(load()) as engine:
        try:
            pauses.resume(engine, scope, by, why, utcnow())
        except NotPaused as error:
            raise UserError(_no_such(error)) from error
        time.sleep(pauses.NOTICED_WITHIN.total_seconds() * 1.2)
        waited = pauses.count_waiting(engine, scope)
        pauses.wake_waiting(engine, scope, utcnow())
        still = pauses.active(engine)
    say(f"Resumed: {scope}. {waited} payout(s) that waited are looked at now.")
    for standing in still:
        say(f"Still in force: {_told(standing)}.")


def _no_such(error: NotPaused) -> str:
    if not error.standing:
        return "nothing is paused"
    standing = "\n".join(f"  {_told(one)}" for one in error.standing)
    return f"{error}. Give the options that it was paused with; in force:\n{standing}"


def _told(standing: Pause) -> str:
    return (
        f"{standing.scope}, paused by {standing.set_by} at {when(standing.set_at)} UTC"
        f" ({standing.reason})"
    )


def _scope(account: str | None, channel: str | None, currency: str | None) -> Scope:
    given = {"--account": account, "--channel": channel, "--currency": currency}
    for option, value in given.items():
        kind, example = _TYPES[option]
        try:
            if value is not None:
                kind.validate_python(value)
        except ValidationError as error:
            raise UserError(f"nothing was changed: {option} must be {example}") from error
    return Scope(account, channel, currency)


def _words(option: str, value: str) -> str:
    words = value.strip()
    if not words or len(words) > _LONGEST_WORDS or not words.isprintable():
        raise UserError(
            f"nothing was changed: {option} must be 1 to {_LONGEST_WORDS} characters in one line"
        )
    return words
