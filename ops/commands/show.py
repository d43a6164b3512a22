"""`payouts show`: one payout with its journal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

from typer import Option

from ops.commands.options import Account, Json, OrderNo
from ops.commands.review import describe_proposal
from ops.connections import database, find
from ops.console import as_json, exact, note, print_facts, say, when
from ops.errors import UserError
from ops.gateway import resolution_service
from ops.resolution.approval import open_proposal
from ops.wording.gateway_answers import in_words
from ops.wording.next_step import waits_for
from shared.config.builders import build_policy
from shared.config.settings import load
from shared.domain.daily_reconciliation import epay_answered
from shared.domain.gateway import OrderAnswer
from shared.observability.logging import mask
from shared.storage import pauses
from shared.storage.queries import PayoutDetail

_AMOUNTS = {"amount", "fee"}
_INTERNAL = {"id", "claim_id", "nonce", "journal_hash", "absences"}
_FREE_TEXT = ("remark", "extend_fields")
"""Texts of the requesting app for the payee: they may hold anything."""
_HASHES = {"row_hash", "previous_hash", "hash"}
_FRACTION_OF_SECOND = re.compile(r"(?<=\d\d:\d\d:\d\d)\.\d+")
_KINDS = {"lease_over": "lease expired: worker did not report back"}
"""Stored kinds of events that need words."""


def show(
    merchant_order_no: OrderNo,
    epay_account: Account = None,
    refresh: Annotated[
        bool, Option("--refresh", help="Query EPAY now, and record its answer.")
    ] = False,
    json: Json = False,
    export: Annotated[
        bool, Option("--export", help="Print the journal with its hashes, for a dispute.")
    ] = False,
) -> None:
    """Show one payout: its state, its journal and its notifications. Account numbers are masked."""
    settings = load()
    answers: list[OrderAnswer] = []
    with database(settings) as engine:
        found = find(settings, engine, merchant_order_no, epay_account)
        if refresh:
            for payout in (detail.payout for detail in found):
                with resolution_service(
                    settings, engine, "EPAY was not queried", payout
                ) as service:
                    answers.append(service.refresh(payout)[1])
            found = find(settings, engine, merchant_order_no, epay_account)
        in_force = pauses.active(engine)
    for answer in answers:
        note(in_words(answer))
    if json or export:
        say(as_json([_as_dict(detail, hashes=export) for detail in found]))
    else:
        for detail in found:
            _print(detail, waits_for(detail.payout, in_force, build_policy(settings)))
    if not all(map(epay_answered, answers)):
        raise UserError("EPAY could not be queried: the output shows what was known before")


def _print(detail: PayoutDetail, waiting_for: str | None) -> None:
    print_facts(_facts(detail, waiting_for))
    say("\nJournal (times in UTC)")
    for event in detail.events:
        _print_event(event)
    if detail.messages:
        say("\nNotifications of the requesting app (times in UTC)")
    for message in detail.messages:
        sent = f"sent {when(message['sent_at'])}" if message["sent_at"] else "waiting"
        status = message["kwargs"]["status"]
        say(f"  {status}: {sent} to {message['task']} on queue {message['queue']}")


def _print_event(event: Mapping[str, Any]) -> None:
    before, after = event["status_before"], event["status_after"]
    kind = _KINDS.get(event["kind"], event["kind"])
    change = after if before in {None, after} else f"{before} -> {after}"
    say(f"{event['sequence']:>3}  {when(event['at'])}  {kind}, by {event['actor']}: {change}")
    if event["detail"]:
        say("     " + ", ".join(f"{key} {_value(key, of)}" for key, of in event["detail"].items()))


def _value(key: str, value: object) -> str:
    if key in _AMOUNTS and value is not None:
        return exact(Decimal(str(value)))
    return _FRACTION_OF_SECOND.sub("", str(value))


def _facts(detail: PayoutDetail, waiting_for: str | None) -> Iterator[tuple[str, str]]:
    payout = detail.payout
    yield "order", f"{payout.merchant_order_no} of {payout.epay_account}"
    yield "status", payout.status.value
    yield "amount", f"{payout.amount} {payout.currency}"
    yield "to", f"channel {payout.channel_code}, account {mask(payout.account_no)}"
    yield "EPAY order", payout.epay_order_no or "-"
    yield "fee", "-" if payout.fee is None else exact(payout.fee)
    yield "send attempts", f"{payout.attempts}, the first {when(payout.first_sent_at)}"
    yield "next check", when(payout.due_at)
    yield "finished", when(payout.finished_at)
    if payout.refusal:
        yield "refused with", payout.refusal
    if payout.review_reason:
        yield "ACTION REQUIRED", f"{payout.review_reason} (since {when(payout.review_since)})"
    if (proposal := open_proposal(detail.events)) is not None:
        proposed = describe_proposal(proposal)
        yield "APPROVAL PENDING", f"{proposed}; another person must approve"
    if waiting_for is not None:
        yield "waits for", waiting_for


def _as_dict(detail: PayoutDetail, *, hashes: bool) -> dict[str, Any]:
    payout = _without(asdict(detail.payout), _INTERNAL)
    payout["account_no"] = mask(detail.payout.account_no)
    for name in _FREE_TEXT:
        payout[name] = None if payout[name] is None else "***"
    hidden = {"payout_id", "id"} | (set() if hashes else _HASHES)
    if hashes:
        payout["journal_hash"] = detail.payout.journal_hash
    return {
        "payout": payout,
        "events": [_without(event, hidden) for event in detail.events],
        "messages": [_without(message, hidden) for message in detail.messages],
    }


def _without(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}
