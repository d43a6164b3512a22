"""`payouts resolve --all-matching`: one decision for a selection, each payout judged by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from sqlalchemy import Engine
from typer import Exit, confirm

from ops.connections import database
from ops.console import counted, exact, progress, say
from ops.gateway import resolution_service
from ops.resolution.actions import ASKS_EPAY, Decision, NotAllowed
from ops.resolution.approval import is_needed, open_proposal
from ops.resolution.service import ActionResult, ResolutionService
from shared.config.builders import build_cipher
from shared.config.settings import Settings
from shared.domain.payout import PayoutState
from shared.storage import queries
from shared.storage.queries import PayoutFilter, events_of

APPROVE = "approve"
_FORBIDDEN = 3
_MOST_REFUSALS_SHOWN = 20


@dataclass
class Summary:
    """What became of each payout of a selection."""

    done: list[PayoutState] = field(default_factory=list)
    proposed: list[PayoutState] = field(default_factory=list)
    refused: list[tuple[PayoutState, str]] = field(default_factory=list)

    def take(self, payout: PayoutState, act: Callable[[], ActionResult]) -> None:
        """Act on one payout, and keep the result or the refusal."""
        try:
            result = act()
        except NotAllowed as refusal:
            self.refused.append((payout, str(refusal)))
        else:
            (self.proposed if result.proposed else self.done).append(payout)

    def say(self, selected: int) -> None:
        """Print counts and sums, each refusal, and how many were not tried."""
        refused = [payout for payout, _ in self.refused]
        parts = ("Done", self.done), ("Proposed", self.proposed), ("Refused", refused)
        for title, payouts in parts:
            if payouts:
                say(f"{title}: {in_total(payouts)}.")
        for payout, reason in self.refused[:_MOST_REFUSALS_SHOWN]:
            say(f"  {payout.merchant_order_no}: {reason}")
        if len(refused) > _MOST_REFUSALS_SHOWN:
            say(f"  and {len(refused) - _MOST_REFUSALS_SHOWN} more")
        if left := selected - sum(len(payouts) for _, payouts in parts):
            say(f"Not tried: {counted(left, 'payout')}. Run the command again for the rest.")


def resolve_matching(
    settings: Settings,
    wanted: PayoutFilter,
    decision: Decision | None,
    *,
    name: str,
    reason: str,
    asks: bool,
) -> None:
    """Act on each payout of the selection, the oldest first, after one confirmation.

    A refusal, also for a change at the same moment, is listed at the end and does not end the run.

    Args:
        decision: what to do with each; None: approve what another person proposed for it.
        asks: whether to ask for the confirmation.

    Raises:
        Exit: 1 if the person answered no, 3 if an action was refused.
    """
    verb = APPROVE if decision is None else decision.action.verb
    with database(settings) as engine:
        selected = _select(settings, engine, wanted, decision)
        if not selected:
            say("No payout matches.")
            return
        with ExitStack() as stack:
            services: dict[tuple[str, str | None], ResolutionService] = {}

            def service_of(payout: PayoutState) -> ResolutionService:
                home = payout.epay_account, payout.epay_gateway
                if home not in services:
                    opened = resolution_service(settings, engine, f"{verb} is refused", payout)
                    services[home] = stack.enter_context(opened)
                return services[home]

            _describe(service_of(selected[0][0]), selected, verb)
            if asks and not confirm("Continue?"):
                say("Nothing was done.")
                raise Exit(1)
            summary = Summary()
            try:
                for payout, chosen in progress(selected, verb):
                    if verb == APPROVE:
                        act = partial(service_of(payout).approve, payout, name, reason, seen=chosen)
                    else:
                        act = partial(service_of(payout).act, payout, chosen)
                    summary.take(payout, act)
            finally:
                summary.say(len(selected))
    if summary.refused:
        raise Exit(_FORBIDDEN)


def in_total(payouts: Iterable[PayoutState]) -> str:
    """The count, and the sum per currency: `3 payouts, 20.50 EUR and 1.00 USD`."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    count = 0
    for payout in payouts:
        count += 1
        sums[payout.currency] += payout.amount
    amounts = (f"{exact(total)} {currency}" for currency, total in sorted(sums.items()))
    return f"{counted(count, 'payout')}, {' and '.join(amounts)}"


def _select(
    settings: Settings, engine: Engine, wanted: PayoutFilter, decision: Decision | None
) -> Sequence[tuple[PayoutState, Decision]]:
    found = list(queries.newest(engine, build_cipher(settings), wanted))[::-1]
    if decision is not None:
        return [(payout, decision) for payout in found]
    proposals = ((payout, open_proposal(events_of(engine, payout.id))) for payout in found)
    return [(payout, proposal) for payout, proposal in proposals if proposal is not None]


def _describe(
    service: ResolutionService, selected: Sequence[tuple[PayoutState, Decision]], verb: str
) -> None:
    """What is about to be done: how many, how much, and what happens to each."""
    say(f"{verb}: {in_total(payout for payout, _ in selected)}.")
    if verb == APPROVE:
        proposed = Counter(
            f"{one.person} proposed {one.action.verb}{f' {one.end}' if one.end else ''}"
            for _, one in selected
        )
        for words, count in sorted(proposed.items()):
            say(f"  {words}: {counted(count, 'payout')}")
    elif service.needs_approval and any(is_needed(payout, one.action) for payout, one in selected):
        say("Where a second person must approve, it is proposed.")
    if any(one.action in ASKS_EPAY for _, one in selected):
        say("EPAY is queried for each, and a rule may forbid the action for some.")
