"""What each review code means, and what to do, for the person who decides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared.domain import review

MEANS: Mapping[str, str] = MappingProxyType(
    {
        review.MISMATCH: "EPAY reported another order, account, amount or currency under this"
        " number; the status did not change. Compare with EPAY's console.",
        review.SECOND_ORDER: "EPAY has a second order under this number, so it may be paid twice;"
        " the first one counts. Compare both with EPAY's console.",
        review.CONTRADICTION: "EPAY reported a final status, and then another. The first stands."
        " Ask EPAY which is right.",
        review.CREATE_REFUSED: "EPAY refused it with a code that is in no setting. Ask EPAY"
        " what the code means.",
        review.QUERY_REFUSED: "it is not known whether EPAY has it, and EPAY refuses the query"
        " with a code that is in no setting. Read its message.",
        review.RESEND_HORIZON: "EPAY has no such order, and it is too late to send it again under"
        " this number. Reject it, and request it under another.",
        review.VANISHED: "EPAY had the order, and now says that it has none. Ask EPAY.",
        review.UNDOCUMENTED_STATUS: "EPAY reports a status that its documentation does not have."
        " Ask EPAY what it means.",
        review.ABNORMAL: "EPAY says that the order is abnormal. Ask EPAY.",
        review.OVERDUE: "it has no final status after EPAY_REVIEW_AFTER. If it was sent, ask EPAY;"
        " if not, `payouts show` says what it waits for.",
        review.UNSENT: "EPAY could not be reached for longer than EPAY_REVIEW_AFTER. Attempts"
        " continue; check address, network and IP allow-list.",
        review.ABOVE_CAP: "the amount is above CAP_PER_PAYOUT. It is not sent until a person"
        " releases it.",
        review.ABOVE_DAY_CAP: "it would bring the sum sent in 24 hours above CAP_PER_DAY. It is not"
        " sent until a person releases it.",
        review.UNREADABLE: "its account number was encrypted with a key that the workers do not"
        " have. Add the key to ACCOUNT_ENCRYPTION_KEYS: it is sent then.",
        review.ACCOUNT_NOT_CONFIGURED: "its account or gateway is not configured here: it is not"
        " sent, queried or rejected. Configure them; if the gateway only moved, name its former"
        " host in EPAY_FORMER_HOSTS. Then it goes on by itself.",
        review.NO_CONTROL: "EPAY answers that it has no such order, and has not ended any payout"
        " yet that it must show: this proves nothing. Let a small payout end first, or ask EPAY.",
        review.UNANSWERED: "it is not known whether EPAY has it, and EPAY does not answer queries."
        " They go on; check address, network and IP allow-list, and EPAY's console.",
        review.BOOKS: "the daily reconciliation with EPAY found a difference. Ask EPAY, and"
        " correct your records.",
    }
)


def means(reason: str | None) -> str:
    """What a review reason means; empty for None and for an unknown code."""
    return MEANS.get(review.code_of(reason or ""), "")
