"""`payouts resolve`: a person decides about one payout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import Engine

from ops.commands.review import proposed
from ops.connections import database, find, resolution_service
from ops.console import say
from ops.errors import Forbidden, UserError
from ops.resolution import actions
from ops.resolution.actions import ASKS_EPAY, Action, Decision, NotAllowed
from ops.resolution.approval import is_needed, open_proposal
from ops.resolution.service import ActionResult, ResolutionService
from ops.wording.gateway_answers import in_words, was_answered
from shared.config.settings import Settings, load
from shared.domain.gateway import OrderAnswer, Refused
from shared.domain.payout import PayoutState, Status
from shared.storage.queries import PayoutDetail, events_of

_LONGEST = {"--name": 100, "--reason": 1000}


class Verb(StrEnum):
    """What can be typed: an act, or the approval of one."""

    RESEND = "resend"
    REJECT = "reject"
    ACCEPT_AS = "accept-as"
    RELEASE = "release"
    SETTLE = "settle"
    NOTE = "note"
    APPROVE = "approve"


End = StrEnum("End", {end.name: end.value for end in sorted(actions.FINAL_BY_EPAY)})  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was typed."""

    verb: Verb
    name: str
    reason: str
    end: Status | None
    code: str | None
    yes: bool


def resolve(
    merchant_order_no: Annotated[str, typer.Argument(help="The order number of the asking app.")],
    act: Annotated[Verb, typer.Argument(help="What is to be done, as said above.")],
    name: Annotated[str, typer.Option(help="Who decides; stays on record.")],
    reason: Annotated[str, typer.Option(help="Why; stays on record.")],
    end: Annotated[
        End | None, typer.Option("--as", help="The end, for accept-as.", show_choices=True)
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            help="EPAY's code that you take for `no such order`, where EPAY_NOT_FOUND_CODES names"
            " none. Asked for on a terminal."
        ),
    ] = None,
    epay_account: Annotated[
        str | None, typer.Option("--account", "--epay-account", help="The EPAY account it is of.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Decide about a payout; what is decided is on record with name and reason.

    resend     EPAY has no such order: send it again, under the same number
    reject     EPAY has no such order: end it unpaid
    accept-as  EPAY told you how it ended: end it so (--as)
    release    let it pass the cap that holds it
    settle     you have looked into it: take the reason for review back
    note       keep your words with it; nothing changes
    approve    do what another person proposed (RESOLVE_SECOND_PERSON)

    resend, reject and accept-as ask EPAY once more, and a rule may forbid them: exit code 3.
    """
    wish = _Wish(
        act,
        _line(name, "--name"),
        _line(reason, "--reason"),
        None if end is None else Status(end.value),
        code,
        yes,
    )
    _is_complete(wish)
    settings = load()
    with database(settings) as engine:
        story = _one(find(settings, engine, merchant_order_no, epay_account))
        with _at_desk(settings, engine, wish) as at:
            done = _carry_out(at, engine, wish, story.payout)
    _tell(wish, done)


def _is_complete(wish: _Wish) -> None:
    if (wish.verb is Verb.ACCEPT_AS) != (wish.end is not None):
        raise UserError(
            f"accept-as needs --as with one of {', '.join(sorted(actions.FINAL_BY_EPAY))};"
            " no other action does"
        )
    if not wish.yes and wish.verb is not Verb.NOTE and not _is_terminal():
        raise UserError("nobody can be asked without a terminal: add --yes to do it all the same")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _line(text: str, option: str) -> str:
    """What a person types for the record: one printable line, not empty, of bounded length."""
    words = " ".join(text.split())
    if not words or not words.isprintable() or len(words) > _LONGEST[option]:
        raise UserError(f"{option} must be 1 to {_LONGEST[option]} printable characters")
    return words


def _one(found: list[PayoutDetail]) -> PayoutDetail:
    if len(found) > 1:
        accounts = ", ".join(story.payout.epay_account for story in found)
        raise UserError(
            f"several EPAY accounts have that order: say which by --account: {accounts}"
        )
    return found[0]


@contextmanager
def _at_desk(settings: Settings, engine: Engine, wish: _Wish) -> Iterator[ResolutionService]:
    """The desk, with a rule that forbids something told as such."""
    try:
        with resolution_service(settings, engine) as at:
            yield at
    except NotAllowed as error:
        raise Forbidden(f"{wish.verb} is refused: {error}") from error


def _carry_out(
    at: ResolutionService, engine: Engine, wish: _Wish, payout: PayoutState
) -> ActionResult:
    if wish.verb is not Verb.APPROVE:
        decision = Decision(Action(wish.verb.value), wish.name, wish.reason, wish.end, wish.code)
        if not wish.yes and wish.verb is not Verb.NOTE:
            payout, decision = _confirmed(at, payout, decision)
        return at.act(payout, decision)
    found = open_proposal(events_of(engine, payout.id))
    if found is not None:
        say(proposed(found))
        if not wish.yes:
            payout, _ = _confirmed(at, payout, found, approves=True)
    return at.approve(payout, wish.name, wish.reason, seen=found)


def _confirmed(
    at: ResolutionService, payout: PayoutState, decision: Decision, *, approves: bool = False
) -> tuple[PayoutState, Decision]:
    """Show the payout and EPAY's answer of this moment, and ask the person at the terminal."""
    answer: OrderAnswer | None = None
    if decision.action in ASKS_EPAY:
        payout, answer = at.look(payout)
        say(in_words(answer))
    say(
        f"{payout.merchant_order_no} is {payout.status}, {payout.amount} {payout.currency}"
        f"{', in review for ' + payout.review_reason if payout.review_reason else ''}."
    )
    does = dict(actions.choices(payout)).get(decision.action, "a rule may forbid it")
    if at.needs_approval and is_needed(payout, decision) and not approves:
        does = f"{does}, once a second person approves"
    takes = ""
    if isinstance(answer, Refused) and answer.code not in at.policy.not_found_codes:
        takes = f" No setting says what EPAY's code {answer.code} means: you answer for it."
        decision = replace(decision, code=decision.code or answer.code)
    if not typer.confirm(f"{decision.action}: {does}.{takes} Go on?"):
        say("Nothing was done.")
        raise typer.Exit(1)
    return payout, decision


def _tell(wish: _Wish, done: ActionResult) -> None:
    payout = done.payout
    if done.answer is not None and (wish.yes or not was_answered(done.answer)):
        say(in_words(done.answer))
    if done.by_epay:
        say(f"EPAY itself says so by now: {payout.merchant_order_no} is {payout.status}.")
    elif done.proposed:
        say(
            f"Proposed. Another person must approve it: payouts resolve {payout.merchant_order_no}"
            ' approve --name THEIR-NAME --reason "..."'
        )
    else:
        say(f"Done, and on record. {payout.merchant_order_no} is {payout.status}.")
