"""What `payouts show` says that a payout waits for; amounts as people read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ops.console import exact
from ops.wording.next_step import waits_for
from shared.domain.payout import PayoutState, Status
from shared.domain.policy import Policy
from shared.domain.transitions import FINAL
from shared.storage.pauses import DATABASE_CHANGED, REFUSED_BY_EPAY, Pause, Scope
from tests.support.factories import make_payout

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy(visibility_delay=timedelta(seconds=600))
QUEUED = make_payout(NOW, epay_account="a@example.com", merchant_order_no="order-1")
UNKNOWN = replace(QUEUED, status=Status.UNKNOWN, first_sent_at=NOW, last_sent_at=NOW)


def paused(scope: Scope) -> Pause:
    return Pause(1, scope, NOW, "Ann", "wrong rates", None, None, None)


def words(payout: PayoutState, *pauses: Pause, policy: Policy = POLICY) -> str:
    return waits_for(payout, pauses, policy) or ""


def test_a_queued_payout_names_the_pause_that_holds_it() -> None:
    """With who and why; a pause of another currency is not its reason."""
    euro = paused(Scope(currency="EUR"))
    assert "payouts controls" in words(QUEUED, euro)
    assert "Ann" not in words(QUEUED, euro)
    held = words(QUEUED, euro, paused(Scope(currency="USD")))
    assert "currency USD paused by Ann since 2026-11-23 12:00:00 (wrong rates)" in held
    assert "EUR" not in held


def test_each_pause_is_named_with_what_lifts_it() -> None:
    """A refusal of EPAY is not lifted by `payouts recover`."""
    account = replace(paused(Scope(QUEUED.epay_account)), code=REFUSED_BY_EPAY)
    held = words(QUEUED, account, paused(Scope()))
    assert f"`payouts resume --account {QUEUED.epay_account}` lifts it" in held
    assert "recover" not in held
    assert held.endswith("all payouts paused by Ann since 2026-11-23 12:00:00 (wrong rates);"
                         " `payouts resume` lifts it")  # fmt: skip
    changed = replace(paused(Scope()), code=DATABASE_CHANGED)
    assert words(QUEUED, changed).endswith("`payouts recover` lifts it")


def test_an_unknown_payout_says_what_settles_it_and_when() -> None:
    """By itself where a code means `no such order`; else by a person."""
    alone = words(UNKNOWN)
    assert "it may be paid" in alone
    assert "a person decides, after 2026-11-23 12:10:00" in alone
    policy = replace(POLICY, not_found_codes=frozenset({"2001"}))
    assert "it is sent again" in words(UNKNOWN, policy=policy)
    refused = replace(UNKNOWN, refusal="EPAY code 2005: refused")
    assert "it is rejected" in words(refused, policy=policy)


@pytest.mark.parametrize("status", list(Status))
def test_what_has_ended_waits_for_nothing_but_a_person(status: Status) -> None:
    """And every other status waits for something."""
    payout = replace(UNKNOWN, status=status)
    assert (words(payout) == "") == (status in FINAL)
    assert "payouts review" in words(replace(payout, review_reason="books: another fee"))


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.1", "0.10"), ("5", "5.00"), ("1E+3", "1000.00"), ("0.125", "0.125"), ("0", "0.00")],
)
def test_amounts_have_all_their_digits_and_two_places(amount: str, text: str) -> None:
    assert exact(Decimal(amount)) == text
