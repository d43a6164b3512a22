"""`payouts show`: one payout, and everything that happened to it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy import Engine

from ops.commands.review import proposed
from ops.connections import database, find, resolution_service
from ops.console import as_json, exact, note, out, plain, say, when
from ops.errors import Forbidden, UserError
from ops.resolution.actions import NotAllowed
from ops.resolution.approval import open_proposal
from ops.wording.gateway_answers import in_words, was_answered
from ops.wording.next_step import waits_for
from shared.config.builders import build_policy
from shared.config.settings import Settings, load
from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from shared.observability.logging import mask
from shared.storage import pauses
from shared.storage.queries import PayoutDetail

_INTERNAL = {"id", "claim_id", "nonce", "journal_hash", "absences"}
_FREE_TEXT = ("remark", "extend_fields")
"""What an asking app wrote for the payee: nobody knows what is in it."""
_HASHES = {"row_hash", "previous_hash", "hash"}


def show(
    merchant_order_no: Annotated[str, typer.Argument(help="The order number of the asking app.")],
    epay_account: Annotated[
        str | None,
        typer.Option("--epay-account", "--account", help="Only the payout of this EPAY account."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask EPAY now, and record its answer.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Print the journal with its hashes, for a dispute.")
    ] = False,
) -> None:
    """Show one payout: how it stands and its whole story in order. Account numbers are masked."""
    settings = load()
    answers: list[OrderAnswer] = []
    with database(settings) as engine:
        found = find(settings, engine, merchant_order_no, epay_account)
        if refresh:
            answers = _refreshed(settings, engine, found)
            found = find(settings, engine, merchant_order_no, epay_account)
        in_force = pauses.active(engine)
    for answer in answers:
        note(in_words(answer))
    if json or export:
        say(as_json([_as_dict(story, hashes=export) for story in found]))
    else:
        for story in found:
            _print(story, waits_for(story.payout, in_force, build_policy(settings)))
    if not all(map(was_answered, answers)):
        raise UserError("EPAY could not be asked: what is shown is what was known before")


def _refreshed(settings: Settings, engine: Engine, found: list[PayoutDetail]) -> list[OrderAnswer]:
    try:
        with resolution_service(settings, engine) as at:
            return [at.refresh(story.payout)[1] for story in found]
    except NotAllowed as error:
        raise Forbidden(f"EPAY was not asked: {error}") from error


def _print(story: PayoutDetail, waiting_for: str | None) -> None:
    payout = story.payout
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(payout):
        facts.add_row(name, plain(value))
    if (proposal := open_proposal(story.events)) is not None:
        facts.add_row("SECOND PERSON", plain(f"{proposed(proposal)}; another person must approve"))
    if waiting_for is not None:
        facts.add_row("waits for", plain(waiting_for))
    out.print(facts, markup=False, highlight=False)
    journal = Table(title="Story")
    for name in ("#", "at (UTC)", "what", "by", "status", "detail"):
        journal.add_column(name, overflow="fold")
    for event in story.events:
        before, after = event["status_before"], event["status_after"]
        move = after if before in {None, after} else f"{before} -> {after}"
        detail = ", ".join(f"{key} {value}" for key, value in event["detail"].items())
        journal.add_row(
            str(event["sequence"]),
            when(event["at"]),
            event["kind"],
            plain(event["actor"]),
            move,
            plain(detail),
        )
    out.print(journal, markup=False, highlight=False)
    if story.messages:
        told = Table("status", "task", "queue", "sent at (UTC)", title="Told to the asking app")
        for message in story.messages:
            sent = when(message["sent_at"]) if message["sent_at"] else "waiting"
            told.add_row(message["kwargs"]["status"], message["task"], message["queue"], sent)
        out.print(told, markup=False, highlight=False)


def _facts(payout: PayoutState) -> list[tuple[str, str]]:
    facts = [
        ("order", f"{payout.merchant_order_no} of {payout.epay_account}"),
        ("status", payout.status.value),
        ("amount", f"{payout.amount} {payout.currency}"),
        ("to", f"channel {payout.channel_code}, account {mask(payout.account_no)}"),
        ("EPAY order", payout.epay_order_no or "-"),
        ("fee", "-" if payout.fee is None else exact(payout.fee)),
        ("sent", f"{payout.attempts} time(s) begun, first {when(payout.first_sent_at)}"),
        ("next look", when(payout.due_at)),
        ("finished", when(payout.finished_at)),
    ]
    if payout.refusal:
        facts.append(("refused with", payout.refusal))
    if payout.review_reason:
        facts.append(
            ("NEEDS A PERSON", f"{payout.review_reason} (since {when(payout.review_since)})")
        )
    return facts


def _as_dict(story: PayoutDetail, *, hashes: bool) -> dict[str, Any]:
    payout = {key: value for key, value in asdict(story.payout).items() if key not in _INTERNAL}
    payout["account_no"] = mask(story.payout.account_no)
    for name in _FREE_TEXT:
        payout[name] = None if payout[name] is None else "***"
    hidden = {"payout_id", "id"} | (set() if hashes else _HASHES)
    if hashes:
        payout["journal_hash"] = story.payout.journal_hash
    return {
        "payout": payout,
        "events": [_without(event, hidden) for event in story.events],
        "messages": [_without(message, hidden) for message in story.messages],
    }


def _without(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}
