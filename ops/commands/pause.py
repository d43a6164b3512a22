"""`payouts pause` and `payouts resume`: stop sending new payouts, and continue."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import TypeAdapter, ValidationError
from typer import Option

from ops.accounts import is_configured
from ops.commands.options import Name, Reason, parse_line
from ops.connections import database
from ops.console import counted, note, say, when
from ops.errors import UserError
from ops.wording.pauses import how_to_lift
from shared.clock import utcnow
from shared.config.settings import load
from shared.contract import ChannelCode, Currency, EpayAccount
from shared.storage import pauses
from shared.storage.pauses import AlreadyPaused, NotPaused, Pause, Scope

_TYPES: dict[str, tuple[TypeAdapter[str], str]] = {
    "--account": (TypeAdapter(EpayAccount), "an EPAY account, for example shop@example.com"),
    "--channel": (TypeAdapter(ChannelCode), "EPAY's code of a wallet system, for example 11"),
    "--currency": (TypeAdapter(Currency), "capital letters, for example USD"),
}

Account = Annotated[str | None, Option("--account", help="Only payouts of this EPAY account.")]
Channel = Annotated[
    str | None, Option("--channel", help="Only payouts over this channel, EPAY's code.")
]
OfCurrency = Annotated[str | None, Option("--currency", help="Only payouts in this currency.")]


def pause(
    name: Name,
    reason: Reason,
    account: Account = None,
    channel: Channel = None,
    currency: OfCurrency = None,
) -> None:
    """Send nothing new: of all payouts, or of those that match every option given.

    Two seconds after this returns, no new create reaches EPAY. Payouts already sent are still
    followed; new requests are accepted and wait. `payouts resume` with the same options lifts it.
    """
    scope = _scope(account, channel, currency)
    by, why = parse_line("--name", name), parse_line("--reason", reason)
    settings = load()
    with database(settings) as engine:
        try:
            pauses.pause(engine, scope, by, why, utcnow())
        except AlreadyPaused as error:
            raise UserError(f"{_describe(error.standing)}. Nothing was changed") from error
        waiting = pauses.count_waiting(engine, scope)
    say(f"Paused: {scope}. It holds {counted(waiting, 'queued payout')} now.")
    if not waiting and scope != Scope():
        note("No queued payout matches: check the options if you expected some.")
    if account is not None and not is_configured(settings, account):
        note(f"Check --account: {account} is not configured here.")


def resume(
    name: Name,
    reason: Reason,
    account: Account = None,
    channel: Channel = None,
    currency: OfCurrency = None,
) -> None:
    """Lift a pause: the one that was set with exactly these options."""
    scope = _scope(account, channel, currency)
    by, why = parse_line("--name", name), parse_line("--reason", reason)
    with database(load()) as engine:
        try:
            pauses.resume(engine, scope, by, why, utcnow())
        except NotPaused as error:
            raise UserError(_no_such(error)) from error
        time.sleep(pauses.NOTICED_WITHIN.total_seconds() * 1.2)
        waited = pauses.count_waiting(engine, scope)
        pauses.wake_waiting(engine, scope, utcnow())
        still = pauses.active(engine)
    say(f"Resumed: {scope}. Sent next: {counted(waited, 'queued payout')}.")
    for standing in still:
        say(f"Still in force: {_describe(standing)}.")


def _no_such(error: NotPaused) -> str:
    if not error.standing:
        return "nothing is paused"
    standing = "\n".join(f"  {_describe(one)}" for one in error.standing)
    return f"{error}. In force:\n{standing}"


def _describe(standing: Pause) -> str:
    return (
        f"{standing.scope}, paused by {standing.set_by} at {when(standing.set_at)} UTC"
        f" ({standing.reason}); {how_to_lift(standing)}"
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
