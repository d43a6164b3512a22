"""Recording EPAY's answers to queries, and the control of a wave of them (law 12)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from shared.domain import reports
from shared.domain.absence_proof import Control, describe_refusal, judge_control
from shared.domain.accounts import ConfiguredAccount
from shared.domain.gateway import OrderAnswer, Refused, Report
from shared.domain.payout import PayoutState, Transition
from shared.domain.policy import Policy
from shared.domain.report_match import names_second_order
from shared.storage.payout_store import PayoutStore

DecideByAnswer = Callable[[PayoutState, OrderAnswer], Transition | None]
"""Makes the transition of a locked payout from EPAY's answer; None: nothing changes."""


def record_answers(
    store: PayoutStore,
    orders: Mapping[int, str],
    answers: Mapping[int, OrderAnswer],
    decide: DecideByAnswer,
) -> list[PayoutState]:
    """Record the answers, by payout id, to queries of `orders`; returns the payouts afterwards."""

    def decide_one(payout: PayoutState) -> Transition | None:
        if payout.merchant_order_no != orders[payout.id]:
            return None  # the database went back in time, and another payout has the id now
        return decide(payout, answers[payout.id])

    return store.update_many(list(answers), decide_one)


def ask_control(
    store: PayoutStore,
    account: ConfiguredAccount,
    ask: Callable[[str], OrderAnswer | None],
    asked_at: datetime,
    policy: Policy,
    refused: Collection[int],
    *,
    records: bool = True,
) -> tuple[Control, str]:
    """Ask EPAY for an order that it must know, after it refused others of the account (law 12).

    Args:
        asked_at: when the wave began.
        refused: the payouts that EPAY refused, which do not serve.
        records: whether a second order that EPAY names is recorded (law 13). Its payout goes to
            review then, and another one serves.

    Returns:
        How the control came out, and in words how EPAY refused it, if it did.
    """
    # one that was sent later may not show at EPAY yet
    known = store.newest_ended(account, asked_at - policy.visibility_delay, list(refused))
    if known is None:
        return Control.MISSING, ""
    answer = ask(known.merchant_order_no)
    control = judge_control(known, answer)
    if records and isinstance(answer, Report) and names_second_order(known, answer):
        report = answer
        store.update(
            known.id,
            lambda payout: reports.record_report(
                payout, report, "query", now=asked_at, policy=policy, jitter=0.0
            ),
        )
    if control is Control.REFUSED and isinstance(answer, Report | Refused):
        return control, describe_refusal(known, answer)
    return control, ""
