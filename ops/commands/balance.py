"""`payouts balance` and `payouts limits`: the account and its limits, as EPAY answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from typer import Option

from ops.commands.options import Json
from ops.console import as_json, print_table, say
from ops.errors import UserError
from ops.gateway import gateway
from shared.config.settings import load
from shared.domain.gateway import Failure, NeverSent, OutcomeUnknown, Refused
from shared.epay.client import EpayClient

T = TypeVar("T")


def balance(
    currency: Annotated[str | None, Option(help="Only this currency; all if left out.")] = None,
    json: Json = False,
) -> None:
    """Ask EPAY for the balance of the account. How much of it is frozen is not documented."""
    found = _ask(lambda client: client.balance(currency))
    if json:
        say(as_json([{"currency": one.currency, "balance": one.balance} for one in found]))
        return
    rows = [(one.currency, f"{one.balance:f}") for one in found]
    print_table(("currency", "balance"), rows, right={"balance"})


def limits(
    currency: Annotated[str, Option(help="For example USD.")],
    channel: Annotated[str, Option(help="EPAY's code of a wallet system, for example 11.")],
    json: Json = False,
) -> None:
    """Ask EPAY for the limits of one payout.

    EPAY documents limits for the categories BANK and CASH only; EPAY_LIMIT_CATEGORY names the one
    to query.
    """
    category = load().epay_limit_category
    found = _ask(lambda client: client.limit(currency, category, channel))
    if json:
        query = {"currency": currency, "channel_code": channel, "category": category}
        say(as_json({**query, "min": found.single_min, "max": found.single_max}))
        return
    say(
        f"One payout over channel {channel}: {found.single_min:f} to {found.single_max:f}"
        f" {currency} (category {category}). Whether the limits themselves are allowed is not"
        " documented."
    )


def _ask(query: Callable[[EpayClient], T | Failure]) -> T:
    with gateway(load()) as client:
        answer = query(client)
    if isinstance(answer, Refused):
        raise UserError(
            f"EPAY refused with code {answer.code}: {answer.message}. Check currency, channel and"
            " EPAY_LIMIT_CATEGORY; `payouts doctor` checks the authentication"
        )
    if isinstance(answer, NeverSent | OutcomeUnknown):
        raise UserError(f"EPAY gave no usable answer: {answer.reason}; try again")
    return answer
