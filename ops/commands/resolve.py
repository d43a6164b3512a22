"""`payouts resolve`: a person decides about one payout, or about all that match."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option, confirm

from ops.commands.listing import parse_codes, parse_moment
from ops.commands.options import Account, Name, Reason, parse_line
from ops.commands.resolve_matching import APPROVE, resolve_matching
from ops.commands.review import describe_proposal
from ops.connections import database, find
from ops.console import say
from ops.errors import UserError
from ops.gateway import resolution_service
from ops.resolution.actions import ASKS_EPAY, FINAL_BY_EPAY, Action, Decision, possible_actions
from ops.resolution.approval import is_needed, open_proposal
from ops.resolution.service import ActionResult, ResolutionService
from ops.wording.gateway_answers import in_words
from shared.config.settings import load
from shared.domain.daily_reconciliation import epay_answered
from shared.domain.gateway import OrderAnswer, Refused
from shared.domain.payout import PayoutState, Status
from shared.storage.queries import PayoutDetail, PayoutFilter, events_of

ACTIONS = {action.verb: action for action in Action}
VERBS = (*ACTIONS, APPROVE)

End = StrEnum("End", {end.name: end.value for end in sorted(FINAL_BY_EPAY)})  # type: ignore[misc]


def _parse_verb(text: str) -> str:
    """A verb; `settle` is the old name of dismiss."""
    if text == Action.DISMISS:
        return Action.DISMISS.verb
    if text not in VERBS:
        raise BadParameter(f"{text!r} is not one of {', '.join(VERBS)}")
    return text


def _complete_verb(incomplete: str) -> list[str]:
    return [verb for verb in VERBS if verb.startswith(incomplete)]


def resolve(
    merchant_order_no: Annotated[
        str,
        Argument(
            metavar="ORDER",
            help="The order number of the requesting app. With --all-matching the action stands"
            " here, and there is no order number.",
        ),
    ],
    name: Name,
    reason: Reason,
    action: Annotated[
        str | None,
        Argument(
            metavar="ACTION",
            parser=_parse_verb,
            autocompletion=_complete_verb,
            help="One of those above.",
        ),
    ] = None,
    end: Annotated[
        End | None,
        Option("--as", help="The final status, for accept-as.", show_choices=True),
    ] = None,
    code: Annotated[
        str | None,
        Option(
            help="EPAY's code that you take for `no such order`, if EPAY_NOT_FOUND_CODES names"
            " none. On a terminal you are asked."
        ),
    ] = None,
    epay_account: Account = None,
    yes: Annotated[bool, Option("--yes", help="Do not ask to confirm.")] = False,
    all_matching: Annotated[
        bool,
        Option(
            "--all-matching",
            help="Decide about all payouts in review for --review-code, each by itself, after one"
            " confirmation with count and sum. The action is the only argument then.",
        ),
    ] = False,
    review_code: Annotated[str | None, Option(help="With --all-matching: this code.")] = None,
    status: Annotated[Status | None, Option(help="With --all-matching: only this status.")] = None,
    currency: Annotated[str | None, Option(help="With --all-matching: only this one.")] = None,
    channel: Annotated[str | None, Option(help="With --all-matching: only this one.")] = None,
    since: Annotated[
        str | None,
        Option(help="With --all-matching: accepted on this day or at this time, or later."),
    ] = None,
    until: Annotated[
        str | None,
        Option(
            help="With --all-matching: accepted on this day, or before this time. In UTC, as"
            " --since: 2026-11-23 or 2026-11-23T14:30:00."
        ),
    ] = None,
) -> None:
    """Decide about a payout; the decision is recorded with name and reason.

    resend     EPAY has no such order: send it again, under the same number
    reject     EPAY has no such order: end it unpaid
    accept-as  EPAY told you its final status: record that (--as)
    release    let it pass the cap that holds it
    dismiss    you have checked it: close the review
    note       add a comment to the journal; nothing changes
    approve    do what another person proposed (RESOLVE_SECOND_PERSON)

    resend, reject and accept-as query EPAY first, and a rule may forbid them: exit code 3.
    --all-matching takes the action alone, for every payout in review for --review-code.
    """
    name, reason = parse_line("--name", name), parse_line("--reason", reason)
    selects = any((review_code, status, currency, channel, since, until))
    if all_matching:
        if action is not None:
            raise UserError("--all-matching takes no order number: give the action alone")
        if review_code is None:
            raise UserError("--all-matching needs --review-code with one code")
        action = _parse_verb(merchant_order_no)
    elif action is None:
        raise UserError(f"which action? Add one of {', '.join(VERBS)} after the order number")
    elif selects:
        raise UserError("--review-code, --status and the like go with --all-matching only")
    if (action == Action.ACCEPT_AS) != (end is not None):
        raise UserError(
            f"accept-as needs --as with one of {', '.join(sorted(FINAL_BY_EPAY))};"
            " no other action does"
        )
    asks = not yes and (all_matching or action != Action.NOTE)
    if asks and not _is_terminal():
        raise UserError("without a terminal you cannot be asked to confirm: add --yes")
    decision = None
    if action != APPROVE:
        decision = Decision(
            ACTIONS[action], name, reason, None if end is None else Status(end.value), code
        )
    if not all_matching:
        _resolve_one(merchant_order_no, epay_account, decision, name, reason, asks=asks, yes=yes)
        return
    wanted = PayoutFilter(
        review_codes=parse_codes([review_code or ""]),
        statuses=() if status is None else (status,),
        currency=currency,
        channel_code=channel,
        epay_account=epay_account,
        since=parse_moment(since, "--since"),
        until=parse_moment(until, "--until", ends_day=True),
    )
    resolve_matching(load(), wanted, decision, name=name, reason=reason, asks=asks)


def _resolve_one(
    merchant_order_no: str,
    epay_account: str | None,
    decision: Decision | None,
    name: str,
    reason: str,
    *,
    asks: bool,
    yes: bool,
) -> None:
    """Act on one payout; without a decision, approve what another person proposed."""
    settings = load()
    verb = APPROVE if decision is None else decision.action.verb
    with database(settings) as engine:
        payout = _only(find(settings, engine, merchant_order_no, epay_account))
        with resolution_service(settings, engine, f"{verb} is refused", payout) as service:
            if decision is None:
                proposal = open_proposal(events_of(engine, payout.id))
                if proposal is not None:
                    say(describe_proposal(proposal))
                    if asks:
                        payout, _ = _confirm(service, payout, proposal, approves=True)
                result = service.approve(payout, name, reason, seen=proposal)
            else:
                if asks:
                    payout, decision = _confirm(service, payout, decision)
                result = service.act(payout, decision)
    _report(result, asked=not yes)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _only(found: list[PayoutDetail]) -> PayoutState:
    if len(found) > 1:
        accounts = ", ".join(detail.payout.epay_account for detail in found)
        raise UserError(f"several EPAY accounts have that order: add --account, one of {accounts}")
    return found[0].payout


def _confirm(
    service: ResolutionService, payout: PayoutState, decision: Decision, *, approves: bool = False
) -> tuple[PayoutState, Decision]:
    """Show the payout and EPAY's fresh answer, and ask the person at the terminal."""
    answer: OrderAnswer | None = None
    if decision.action in ASKS_EPAY:
        payout, answer = service.look(payout)
        say(in_words(answer))
    say(
        f"{payout.merchant_order_no} is {payout.status}, {payout.amount} {payout.currency}"
        f"{', in review for ' + payout.review_reason if payout.review_reason else ''}."
    )
    effect = dict(possible_actions(payout)).get(decision.action, "a rule may forbid it")
    if service.needs_approval and is_needed(payout, decision.action) and not approves:
        effect = f"{effect}, once a second person approves"
    warning = ""
    if isinstance(answer, Refused) and answer.code not in service.policy.not_found_codes:
        warning = f" No setting says what EPAY's code {answer.code} means: you answer for it."
        decision = replace(decision, code=decision.code or answer.code)
    if not confirm(f"{decision.action.verb}: {effect}.{warning} Continue?"):
        say("Nothing was done.")
        raise Exit(1)
    return payout, decision


def _report(result: ActionResult, *, asked: bool) -> None:
    payout = result.payout
    if result.answer is not None and not (asked and epay_answered(result.answer)):
        say(in_words(result.answer))
    if result.by_epay:
        say(f"EPAY's answer already says so: {payout.merchant_order_no} is {payout.status}.")
    elif result.proposed:
        say(
            f"Proposed. Another person must approve it: payouts resolve {payout.merchant_order_no}"
            ' approve --name THEIR-NAME --reason "..."'
        )
    else:
        say(f"Done and recorded. {payout.merchant_order_no} is {payout.status}.")
