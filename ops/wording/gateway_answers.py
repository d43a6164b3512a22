"""EPAY's answers in words."""

from __future__ import annotations

from typing import Any

from ops.console import exact
from shared.domain.absence_proof import Control
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.transitions import STATUS_OF_EPAY_CODE


def in_words(answer: OrderAnswer) -> str:
    """EPAY's answer to a query, in one line."""
    match answer:
        case Report(status=code, epay_order_no=order_no):
            status = STATUS_OF_EPAY_CODE.get(code or "", "not documented")
            amount = "no amount" if answer.amount is None else exact(answer.amount)
            fee = "" if answer.fee is None else f", fee {exact(answer.fee)}"
            return (
                f"EPAY answers status {code} ({status}), EPAY order {order_no or '-'},"
                f" {amount} {answer.currency or 'without currency'}{fee}"
            )
        case Refused(code, message):
            return f"EPAY answers code {code}: {message}"
        case NeverSent(reason) | OutcomeUnknown(reason):
            return f"EPAY could not be queried: {reason}"


WHY_NO_CONTROL = {
    Control.MISSING: "EPAY has not ended any payout yet that it must show, so its `no such order`"
    " proves nothing: let a small payout end, or accept-as what EPAY tells you about this one",
    Control.REFUSED: "EPAY also refuses a payout that it must know: the refusal is about us (key,"
    " address, account), and `payouts controls` shows its words",
    Control.UNANSWERED: "EPAY did not answer about a payout that it must know: try again",
}
"""Why a person's action is refused, by how the control of law 12 came out."""


def answer_detail(answer: OrderAnswer | None) -> dict[str, Any]:
    """What the event of a person's action keeps of EPAY's answer."""
    match answer:
        case None:
            return {}
        case Report(status=status, epay_order_no=epay_order_no):
            return {"epay_status": status, "epay_order_no": epay_order_no}
        case Refused(code, message):
            return {"epay_code": code, "epay_message": message}
        case NeverSent(reason) | OutcomeUnknown(reason):
            return {"epay": reason}
