"""`payouts balance` and `payouts limits`: what EPAY says that can be paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from ops.console import as_json, out, say
from ops.errors import UserError
from shared.config.builders import build_epay_config
from shared.config.settings import load
from shared.domain.gateway import Failure, NeverSent, OutcomeUnknown, Refused
from shared.epay.client import EpayClient

T = TypeVar("T")


def balance(
    currency: Annotated[
        str | None, typer.Option(help="Only this currency; all if left out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask EPAY for the balance of the account. How much of it is frozen is not documented."""
    found = _asked(lambda client: client.balance(currency))
    if json:
        say(as_json([{"currency": one.currency, "balance": one.balance} for one in found]))
        return
    table = Table("currency", "balance")
    table.columns[1].justify = "right"
    for one in found:
        table.add_row(one.currency, f"{one.balance:f}")
    out.print(table, markup=False, highlight=False)


def limits(
    currency: Annotated[str, typer.Option(help="For example USD.")],
    channel: Annotated[str, typer.Option(help="EPAY's code of a wallet system, for example 11.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask EPAY for the limits of one payout.

    EPAY documents them for the categories BANK and CASH alone; EPAY_LIMIT_CATEGORY says which one
    is asked for.
    """
    category = load().epay_limit_category
    found = _asked(lambda client: client.limit(currency, category, channel))
    if json:
        asked = {"currency": currency, "channel_code": channel, "category": category}
        say(as_json({**asked, "min": found.single_min, "max": found.single_max}))
        return
    say(
        f"One payout over channel {channel}: {found.single_min:f} to {found.single_max:f}"
        f" {currency} (category {category}). Whether the ends are allowed is not documented."
    )


def _asked(ask: Callable[[EpayClient], T | Failure]) -> T:
    client = EpayClient(build_epay_config(load()))
    try:
        answer = ask(client)
    finally:
        client.close()
    if isinstance(answer, Refused):
        raise UserError(
            f"EPAY refused with code {answer.code}: {answer.message}. Check currency, channel and"
            " EPAY_LIMIT_CATEGORY; `payouts doctor` says whether EPAY understands us at all"
        )
    if isinstance(answer, NeverSent | OutcomeUnknown):
        raise UserError(f"EPAY gave no answer that can be used: {answer.reason}; try again")
    return answer
