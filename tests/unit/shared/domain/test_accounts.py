"""Law 10: a payout belongs to an account at a gateway; what is not configured here waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ops.resolution import actions
from ops.resolution.actions import Action, Decision, NotAllowed
from shared.domain import daily_reconciliation, lifecycle, reports, review
from shared.domain.accounts import (
    ConfiguredAccount,
    ConfiguredAccounts,
    account_key,
    gateway_of,
)
from shared.domain.daily_reconciliation import Verdict
from shared.domain.gateway import OrderAnswer
from shared.domain.holds import hold_if_not_configured
from shared.domain.payout import PayoutState, Status
from tests.support.factories import (
    ABSENT,
    DEFINITE,
    FOLLOWED,
    LOST,
    POLICY,
    SECOND,
    T0,
    VAGUE,
    make_payout,
    make_report,
    standing,
)

OURS = "shop@example.com"
HOST = "gateway.example"
HERE = replace(POLICY, accounts=ConfiguredAccounts.one(OURS, HOST))
ELSEWHERE = {
    "another account": {"epay_account": "sandbox@example.com", "epay_gateway": HOST},
    "another gateway": {"epay_gateway": "sandbox:8080"},
    "neither": {"epay_account": "sandbox@example.com", "epay_gateway": None},
}
LATER = T0 + timedelta(days=1)


def _elsewhere(status: Status, changes: dict[str, Any]) -> PayoutState:
    return replace(standing(status), **changes)


@pytest.mark.parametrize(
    ("base_url", "gateway"),
    [
        ("https://API.epay.com/capi/openapi", "api.epay.com"),
        ("https://api.epay.com:443/capi/openapi/", "api.epay.com"),
        ("http://api.epay.com.:80/capi/openapi", "api.epay.com"),
        (" http://127.0.0.1:8080/capi/openapi", "127.0.0.1:8080"),
        ("https://api.epay.com:8443", "api.epay.com:8443"),
        ("", ""),
    ],
)
def test_the_gateway_of_a_base_url(base_url: str, gateway: str) -> None:
    assert gateway_of(base_url) == gateway


def test_another_spelling_is_the_same_account() -> None:
    accounts = ConfiguredAccounts.one("Shop@Example.com ", HOST)
    assert account_key(" SHOP@example.COM") == account_key("shop@example.com")
    found = accounts.find("shop@example.com", HOST)
    assert found is not None
    assert found.account == "Shop@Example.com ", "EPAY gets what was typed"
    assert accounts.named("SHOP@EXAMPLE.COM") is accounts.named(None) is found
    assert accounts.named("other@example.com") is None


def test_a_gateway_that_moved_is_named() -> None:
    moved = ConfiguredAccounts.one(OURS, HOST, ("old.example:8443",))
    assert moved.find(OURS, "old.example:8443") is not None
    assert moved.find(OURS, "sandbox:8080") is None


def test_a_payout_without_a_gateway_is_that_of_its_only_one() -> None:
    """It was accepted before gateways were recorded; two candidates decide nothing."""
    one, other = ConfiguredAccount(OURS, HOST), ConfiguredAccount(OURS, "second.example")
    assert ConfiguredAccounts((one,)).find(OURS, None) is one
    assert ConfiguredAccounts((one, other)).find(OURS, None) is None
    assert ConfiguredAccounts((one, other)).find(OURS, "second.example") is other
    assert ConfiguredAccounts((one, other)).named(OURS) is None
    assert ConfiguredAccounts((one, other), one).named(OURS) is one


@pytest.mark.parametrize("changes", ELSEWHERE.values(), ids=ELSEWHERE)
def test_it_is_not_claimed(changes: dict[str, Any]) -> None:
    """Held in review, looked at again soon, and recorded once."""
    payout = _elsewhere(Status.QUEUED, changes)
    held = lifecycle.claim_for_submission(payout, claim_id="c", now=T0, policy=HERE)
    assert held is not None
    assert (held.after.status, held.after.attempts) == (Status.QUEUED, 0)
    assert held.after.due_at == T0 + timedelta(seconds=HERE.submit_backoff[-1])
    assert review.code_of(held.after.review_reason or "") == review.ACCOUNT_NOT_CONFIGURED
    assert held.event is not None
    again = lifecycle.claim_for_submission(held.after, claim_id="c", now=LATER, policy=HERE)
    assert again is not None
    assert again.event is None
    assert again.after.due_at is not None
    assert again.after.due_at > LATER


@pytest.mark.parametrize("changes", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("status", FOLLOWED)
@pytest.mark.parametrize("answer", [ABSENT, DEFINITE, VAGUE, LOST, make_report("7")])
def test_no_answer_judges_it(status: Status, changes: dict[str, Any], answer: OrderAnswer) -> None:
    """Not three absences, not an end: whoever answered was not its account."""
    payout = _elsewhere(status, changes)
    for nth in range(4):
        asked_at = T0 + nth * timedelta(hours=1)
        made = reports.on_query_answer(
            payout, answer, asked_at=asked_at, now=asked_at, policy=HERE, jitter=0
        )
        payout = payout if made is None else made.after
    assert (payout.status, payout.absences) == (status, ())
    assert review.code_of(payout.review_reason or "") == review.ACCOUNT_NOT_CONFIGURED
    assert payout.due_at is not None


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUBMITTING, *FOLLOWED])
def test_no_callback_ends_it(status: Status) -> None:
    """A callback names no gateway: that of another one is kept, and believed by nobody."""
    payout = _elsewhere(status, ELSEWHERE["another gateway"])
    report = make_report("7", "callback", payout=payout)
    kept = reports.on_callback(payout, report, now=T0, policy=HERE, jitter=0)
    assert (kept.after.status, kept.after.due_at) == (status, payout.due_at)
    assert review.code_of(kept.after.review_reason or "") == review.ACCOUNT_NOT_CONFIGURED
    assert kept.event is not None
    assert "sandbox:8080" in kept.event.detail["disagrees"]


def test_a_final_payout_keeps_its_end_and_is_not_flagged() -> None:
    payout = _elsewhere(Status.SUCCEEDED, ELSEWHERE["another gateway"])
    report = make_report("6", "callback", payout=payout)
    kept = reports.on_callback(payout, report, now=T0, policy=HERE, jitter=0)
    assert (kept.after.status, kept.after.review_reason) == (Status.SUCCEEDED, None)
    assert hold_if_not_configured(payout, now=T0, policy=HERE) is None


def test_the_daily_reconciliation_compares_nothing() -> None:
    payout = _elsewhere(Status.SUCCEEDED, ELSEWHERE["another gateway"])
    compared, made = daily_reconciliation.reconcile(
        payout, make_report("6"), asked_at=T0, now=T0, policy=HERE, jitter=0
    )
    assert (compared.verdict, made) == (Verdict.UNANSWERED, None)


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.NOTE])
@pytest.mark.parametrize("status", [Status.QUEUED, Status.UNKNOWN])
def test_a_person_is_told_what_to_do(action: Action, status: Status) -> None:
    payout = _elsewhere(status, ELSEWHERE["another account"])
    decision = Decision(action, "Ann", "I asked", end=Status.FAILED)
    with pytest.raises(NotAllowed, match=r"sandbox@example.com.*configure the account"):
        actions.decide(payout, decision, ABSENT, now=LATER, policy=HERE)
    noted = actions.decide(payout, replace(decision, action=Action.NOTE), None, now=T0, policy=HERE)
    assert noted.after.status is status


def test_it_heals_by_itself_when_its_account_is_configured() -> None:
    """A queued one is claimed, with its gateway on the row; one that is asked about is clean."""
    queued = _elsewhere(Status.QUEUED, {"epay_account": "second@example.com"})
    held = hold_if_not_configured(queued, now=T0, policy=HERE)
    assert held is not None
    there = replace(POLICY, accounts=ConfiguredAccounts.one("Second@example.com", HOST))
    claimed = lifecycle.claim_for_submission(held.after, claim_id="c", now=LATER, policy=there)
    assert claimed is not None
    assert claimed.after.status is Status.SUBMITTING
    assert (claimed.after.review_reason, claimed.after.epay_gateway) == (None, HOST)
    unknown = _elsewhere(Status.UNKNOWN, {"epay_account": "second@example.com"})
    held = hold_if_not_configured(unknown, now=T0, policy=HERE)
    assert held is not None
    for answer in (LOST, VAGUE, ABSENT):
        asked = reports.on_query_answer(
            held.after, answer, asked_at=T0 + SECOND, now=T0 + SECOND, policy=there, jitter=0
        )
        assert asked is not None
        assert asked.after.review_reason is None
        assert asked.event is not None


def test_a_payout_of_an_earlier_release_adopts_the_gateway_once() -> None:
    adopted = lifecycle.adopt_gateway(standing(Status.UNKNOWN), now=T0, policy=HERE)
    assert adopted is not None
    assert (adopted.after.epay_gateway, adopted.after.status) == (HOST, Status.UNKNOWN)
    assert lifecycle.adopt_gateway(adopted.after, now=T0, policy=HERE) is None
    other = make_payout(epay_account="sandbox@example.com")
    assert lifecycle.adopt_gateway(other, now=T0, policy=HERE) is None


def test_the_account_of_a_report_is_compared_as_an_account() -> None:
    """EPAY may spell it its own way; another account is a mismatch as ever."""
    payout = replace(standing(Status.PROCESSING), epay_account="Shop@Example.com")
    same = reports.on_callback(
        payout, make_report("7", "callback"), now=T0, policy=POLICY, jitter=0
    )
    assert same.after.status is Status.SUCCEEDED
    other = make_report("7", "callback", epay_account="x@example.com")
    kept = reports.on_callback(payout, other, now=T0, policy=POLICY, jitter=0)
    assert kept.after.status is Status.PROCESSING
