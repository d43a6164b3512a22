"""What each code of a review reason means, for a person who has to answer for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared.domain import review

MEANS: Mapping[str, str] = MappingProxyType(
    {
        review.MISMATCH: "EPAY told of another order, account, amount or currency under this"
        " number; that moved nothing. Compare with EPAY's console.",
        review.CONTRADICTION: "EPAY reported an end, and then another. The first stands. Ask EPAY"
        " which is true.",
        review.CREATE_REFUSED: "EPAY refused it with a code that no setting knows. Look the code"
        " up with EPAY.",
        review.QUERY_REFUSED: "nobody knows whether EPAY has it, and EPAY refuses the query with a"
        " code that no setting knows. Read its words.",
        review.RESEND_HORIZON: "EPAY has no such order, and it is too late to send it again under"
        " this number. Reject it, and ask for it under another.",
        review.VANISHED: "EPAY had the order, and now says that it has none. Ask EPAY.",
        review.UNDOCUMENTED_STATUS: "EPAY reports a status that its documentation does not have."
        " Ask EPAY what it means.",
        review.ABNORMAL: "EPAY says that the order is abnormal. Ask EPAY.",
        review.OVERDUE: "it has had no end for longer than EPAY_REVIEW_AFTER. Ask EPAY.",
        review.UNSENT: "EPAY could not be reached for longer than EPAY_REVIEW_AFTER. It is tried"
        " on; check address, network and IP allow-list.",
        review.ABOVE_CAP: "the amount is above CAP_PER_PAYOUT. Nothing is sent until somebody"
        " releases it.",
        review.ABOVE_DAY_CAP: "it would bring what was sent in 24 hours above CAP_PER_DAY. Nothing"
        " is sent until somebody releases it.",
        review.BOOKS: "the comparison with EPAY found a difference. Ask EPAY, and correct your"
        " books.",
    }
)


def means(reason: str | None) -> str:
    """What a review reason means; empty where there is none, or an unknown one."""
    return MEANS.get(review.code_of(reason or ""), "")
