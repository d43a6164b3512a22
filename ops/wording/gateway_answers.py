"""EPAY's answers in words."""

from __future__ import annotations

from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.transitions import STATUS_OF_EPAY_CODE


def in_words(answer: OrderAnswer) -> str:
    """What EPAY answered to a query, in a line."""
    match answer:
        case Report(status=code, epay_order_no=order_no):
            meant = STATUS_OF_EPAY_CODE.get(code or "")
            amount = "no amount" if answer.amount is None else f"{answer.amount:f}"
            fee = "" if answer.fee is None else f", fee {answer.fee:f}"
            return (
                f"EPAY says: status {code} ({meant or 'not documented'}), EPAY order"
                f" {order_no or '-'}, {amount} {answer.currency or 'without currency'}{fee}"
            )
        case Refused(code, message):
            return f"EPAY answers code {code}: {message}"
        case NeverSent(reason) | OutcomeUnknown(reason):
            return f"EPAY could not be asked: {reason}"


def was_answered(answer: OrderAnswer) -> bool:
    """Whether EPAY said anything at all."""
    return isinstance(answer, Report | Refused)
