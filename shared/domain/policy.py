"""The settings that the lifecycle decides by (`shared.config.builders` makes them). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from shared.domain import backoff
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.gateway import Refused
from shared.domain.payout import PayoutState


@dataclass(frozen=True, slots=True)
class Policy:
    """See `shared.config.settings` for the environment variable behind each field."""

    lease: timedelta = timedelta(seconds=60)
    """How long one sender may work on a claimed payout (law 1)."""
    visibility_delay: timedelta = timedelta(seconds=600)
    """How long after a send EPAY may not show the order yet (law 3)."""
    resend_horizon: timedelta = timedelta(seconds=86_400)
    """How long after the first send a payout may be sent again (law 3)."""
    review_after: timedelta = timedelta(days=3)
    """How long a payout may stay open before a person must look."""
    query_backoff: tuple[int, ...] = backoff.DEFAULT_QUERY_BACKOFF
    submit_backoff: tuple[int, ...] = backoff.DEFAULT_SUBMIT_BACKOFF
    not_found_codes: frozenset[str] = frozenset()
    """EPAY's codes for "no such order" (law 3)."""
    refused_codes: frozenset[str] = frozenset()
    """EPAY's codes for a definite refusal of a create (law 4)."""
    duplicate_codes: frozenset[str] = frozenset()
    """EPAY's codes for a create whose number it has already: never a refusal (law 4)."""
    cap_per_payout: Mapping[str, Decimal] = field(default_factory=dict)
    """Currency -> the largest amount that is sent without a person's release."""
    cap_per_day: Mapping[str, Decimal] = field(default_factory=dict)
    """Currency -> the sum that is sent within 24 hours without a person's release."""
    accounts: ConfiguredAccounts | None = None
    """The accounts that this process can use (law 10); None: every payout's account is."""

    def missing_account(self, payout: PayoutState) -> str | None:
        """Why the payout's account or gateway cannot be used here; None: it is configured."""
        if self.accounts is None:
            return None
        return self.accounts.missing(payout.epay_account, payout.epay_gateway)

    def is_duplicate(self, refusal: str | None) -> bool:
        """Whether EPAY refused the create since it has its number: then absence is no proof."""
        begins = tuple(str(Refused(code, "")) for code in self.duplicate_codes)
        return refusal is not None and refusal.startswith(begins)

    def within_caps(self, payout: PayoutState) -> bool:
        """Whether no cap can hold the payout, whatever else was sent."""
        single = self.cap_per_payout.get(payout.currency)
        is_single_free = single is None or payout.amount <= single
        return is_single_free and payout.currency not in self.cap_per_day
