"""Law 11: what may have been sent before the database went back is asked about, not sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import lifecycle
from shared.domain.payout import PayoutState, Status
from shared.domain.witness import ASKED_FIRST, SENT_BEFORE, Doubt
from tests.support.factories import SECOND, T0, accepted, unknown

EARLIER = T0 - timedelta(hours=5)


def doubted(payout: PayoutState, doubt: Doubt) -> PayoutState:
    claim = payout.claim_id or ""
    step = lifecycle.on_doubt(payout, doubt, claim_id=claim, now=T0 + SECOND)
    assert step is not None
    assert step.event is not None
    assert step.event.kind == doubt.kind
    return step.after


@pytest.mark.parametrize("kind", [SENT_BEFORE, ASKED_FIRST])
def test_it_is_unknown_and_asked_about_at_once(kind: str) -> None:
    """Not queued, not sent; the settle time counts from our claim."""
    payout = doubted(accepted(), Doubt(kind, "why"))
    assert payout.status is Status.UNKNOWN
    assert payout.due_at == T0 + SECOND
    assert payout.last_sent_at == accepted().last_sent_at


def test_the_horizon_counts_from_the_send_that_was_forgotten() -> None:
    """Law 3: never later than the horizon after the FIRST send."""
    payout = doubted(accepted(), Doubt(SENT_BEFORE, "why", EARLIER))
    assert payout.first_sent_at == EARLIER
    assert doubted(accepted(), Doubt(ASKED_FIRST, "why")).first_sent_at == T0


@pytest.mark.parametrize("payout", [unknown(), replace(accepted(), claim_id="another")])
def test_a_payout_that_moved_on_is_left_alone(payout: PayoutState) -> None:
    """By a callback, or by the end of the lease."""
    doubt = Doubt(SENT_BEFORE, "why")
    claim = accepted().claim_id or ""
    assert lifecycle.on_doubt(payout, doubt, claim_id=claim, now=T0 + SECOND) is None
