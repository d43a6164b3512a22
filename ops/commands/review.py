"""`payouts review`: the payouts that wait for a decision, and the effect of each choice."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, NamedTuple

from sqlalchemy import Engine
from typer import Option

from ops.accounts import default_key
from ops.commands.options import Json
from ops.connections import database
from ops.console import as_json, counted, note, plain, say, when
from ops.resolution.actions import Action, Decision, possible_actions
from ops.resolution.approval import is_needed, open_proposal
from ops.wording.review_help import means
from shared.clock import utcnow
from shared.config.builders import build_cipher
from shared.config.settings import Settings, load
from shared.domain import review as reasons
from shared.domain.accounts import account_key
from shared.domain.payout import PayoutState
from shared.storage import queries
from shared.storage.queries import events_of


class Choice(NamedTuple):
    """One action that is possible."""

    act: str
    """Its stored name, for programs."""
    verb: str
    """Its name for people."""
    effect: str
    command: str
    """The command to type."""


class Case(NamedTuple):
    """One payout that waits for a person."""

    payout: PayoutState
    proposal: Decision | None
    choices: list[Choice]


def review(
    limit: Annotated[int, Option(min=0, help="How many at most; 0 for all.")] = 20,
    json: Json = False,
) -> None:
    """Show payouts in review and open proposals, the longest waiting first, with the choices."""
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
            say("No payout needs a decision.")
    if more:
        note(f"There are more than {limit}: give --limit (0 for all).")


def _cases(settings: Settings, engine: Engine) -> Iterator[Case]:
    cipher, default = build_cipher(settings), default_key(settings)
    for payout in list(queries.with_proposals(engine, cipher)):
        proposal = open_proposal(events_of(engine, payout.id))
        if proposal is not None and payout.review_reason is None:
            yield _case(settings, default, payout, proposal)
    for payout in list(queries.in_review(engine, cipher)):
        proposal = open_proposal(events_of(engine, payout.id))
        yield _case(settings, default, payout, proposal)


def _case(
    settings: Settings, default: str | None, payout: PayoutState, proposal: Decision | None
) -> Case:
    choices = []
    if proposal is not None:
        effect = f"does what {proposal.person} proposed, if it is still allowed"
        choices.append(Choice("approve", "approve", effect, _command(default, payout, "approve")))
    for action, effect in possible_actions(payout):
        waits = settings.resolve_second_person and is_needed(payout, action)
        choices.append(
            Choice(
                action.value,
                action.verb,
                f"{effect}, once a second person approves" if waits else effect,
                _command(default, payout, action.verb),
            )
        )
    return Case(payout, proposal, choices)


def _command(default: str | None, payout: PayoutState, verb: str) -> str:
    order = shlex.quote(payout.merchant_order_no)
    order = f"-- {order}" if order.startswith("-") else order
    status = " --as STATUS" if verb == Action.ACCEPT_AS else ""
    account = ""
    if account_key(payout.epay_account) != default:
        account = f" --account {shlex.quote(payout.epay_account)}"
    return f'payouts resolve{status}{account} --name YOU --reason "..." {order} {verb}'


def describe_proposal(decision: Decision) -> str:
    """A proposal in words."""
    status = f" {decision.end}" if decision.end else ""
    return f"{decision.person} proposed: {decision.action.verb}{status} ({decision.reason})"


def _print(case: Case) -> None:
    payout = case.payout
    say(f"{payout.merchant_order_no}  {payout.status}  {payout.amount} {payout.currency}")
    if payout.review_reason is not None:
        days = (utcnow() - (payout.review_since or utcnow())).days
        age = f", {counted(days, 'day')}" if days else ""
        say(f"  why: {payout.review_reason}")
        say(f"  means: {means(payout.review_reason)}")
        say(f"  since: {when(payout.review_since)} UTC{age}")
    if case.proposal is not None:
        say(f"  APPROVAL PENDING: {describe_proposal(case.proposal)}")
    say("  choices:")
    for choice in case.choices:
        say(f"    {choice.verb}: {choice.effect}")
        say(f"      {choice.command}")
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
        "since": payout.review_since,
        "proposal": None
        if proposal is None
        else {
            "act": proposal.action.value,
            "end": proposal.end,
            "person": plain(proposal.person),
            "reason": plain(proposal.reason),
        },
        "choices": [
            {"act": choice.act, "does": choice.effect, "command": choice.command}
            for choice in case.choices
        ],
    }
