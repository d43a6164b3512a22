"""`payouts review`: what needs a person, why, since when, and what each choice would do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from ops.connections import database
from ops.console import as_json, note, plain, say, when
from ops.resolution import actions
from ops.resolution.actions import Action, Decision
from ops.resolution.approval import is_needed, open_proposal
from ops.wording.review_help import means
from shared.clock import utcnow
from shared.config.builders import build_cipher
from shared.config.settings import Settings, load
from shared.domain import review as reasons
from shared.domain.payout import PayoutState
from shared.storage import queries
from shared.storage.queries import events_of


@dataclass(frozen=True, slots=True)
class Case:
    """One payout that waits for a person."""

    payout: PayoutState
    proposal: Decision | None
    choices: list[tuple[str, str, str]]
    """Act, what it would do, the command to type."""


def review(
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what needs a person, the longest waiting first, and the command for each choice."""
    settings = load()
    with database(settings) as engine:
        found = _cases(settings, engine)
        cases = list(islice(found, limit)) if limit else list(found)
        more = next(found, None) is not None
    if json:
        say(as_json([_as_dict(case) for case in cases]))
    else:
        for case in cases:
            _print(case)
        if not cases:
            say("Nothing needs a person.")
    if more:
        note(f"There are more than {limit}: give --limit (0 for all).")


def _cases(settings: Settings, engine: Engine) -> Iterator[Case]:
    vault = build_cipher(settings)
    for payout in list(queries.with_proposals(engine, vault)):
        proposal = open_proposal(events_of(engine, payout.id))
        if proposal is not None and payout.review_reason is None:
            yield _case(settings, payout, proposal)
    for payout in list(queries.in_review(engine, vault)):
        yield _case(settings, payout, open_proposal(events_of(engine, payout.id)))


def _case(settings: Settings, payout: PayoutState, proposal: Decision | None) -> Case:
    choices = [
        (act.value, _does(settings, payout, act, does), command(settings, payout, act.value))
        for act, does in actions.choices(payout)
    ]
    if proposal is not None:
        does = f"does what {proposal.person} proposed, if it still is allowed"
        choices.insert(0, ("approve", does, command(settings, payout, "approve")))
    return Case(payout, proposal, choices)


def _does(settings: Settings, payout: PayoutState, act: Action, does: str) -> str:
    asked = Decision(act, person="", reason="")
    if settings.resolve_second_person and is_needed(payout, asked):
        return f"{does}, once a second person approves"
    return does


def command(settings: Settings, payout: PayoutState, act: str) -> str:
    """What to type for an act."""
    order = shlex.quote(payout.merchant_order_no)
    order = f"-- {order}" if order.startswith("-") else order
    ends = " --as STATUS" if act == Action.ACCEPT_AS else ""
    account = ""
    if payout.epay_account != settings.epay_account:
        account = f" --account {shlex.quote(payout.epay_account)}"
    return f'payouts resolve{ends}{account} --name YOU --reason "..." {order} {act}'


def proposed(decision: Decision) -> str:
    """A proposal in words."""
    ending = f" {decision.end}" if decision.end else ""
    return f"{decision.person} proposed: {decision.action}{ending} ({decision.reason})"


def _print(case: Case) -> None:
    payout = case.payout
    say(f"{payout.merchant_order_no}  {payout.status}  {payout.amount} {payout.currency}")
    if payout.review_reason is not None:
        days = (utcnow() - (payout.review_since or utcnow())).days
        age = f", {days} day(s)" if days else ""
        say(f"  why: {payout.review_reason}")
        say(f"  means: {means(payout.review_reason)}")
        say(f"  since: {when(payout.review_since)} UTC{age}")
    if case.proposal is not None:
        say(f"  waits for a second person: {proposed(case.proposal)}")
    say("  choices:")
    for act, does, typed in case.choices:
        say(f"    {act}: {does}")
        say(f"      {typed}")
    say("")


def _as_dict(case: Case) -> dict[str, Any]:
    payout, proposal = case.payout, case.proposal
    return {
        "merchant_order_no": payout.merchant_order_no,
        "epay_account": payout.epay_account,
        "status": payout.status.value,
        "amount": payout.amount,
        "currency": payout.currency,
        "code": None if payout.review_reason is None else reasons.code_of(payout.review_reason),
        "why": payout.review_reason,
        "means": means(payout.review_reason) or None,
        "since": _moment(payout.review_since),
        "proposal": None
        if proposal is None
        else {
            "act": proposal.action.value,
            "end": proposal.end,
            "person": plain(proposal.person),
            "reason": plain(proposal.reason),
        },
        "choices": [
            {"act": act, "does": does, "command": typed} for act, does, typed in case.choices
        ],
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
