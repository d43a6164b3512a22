"""Two people for what may move money: what is proposed, what overtakes it, who may approve."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from ops.resolution import actions, approval
from ops.resolution.actions import Action, Decision, NotAllowed
from ops.resolution.approval import approved, is_needed, open_proposal, proposal
from shared.domain import lifecycle, reports
from shared.domain.absence_proof import Control
from shared.domain.payout import PayoutState, Status, Transition
from tests.support.factories import ABSENT, POLICY, SECOND, T0, make_report, standing, unknown
from tests.support.journal import assert_chained

NOW = T0 + POLICY.visibility_delay + 60 * SECOND
RESEND = Decision(Action.RESEND, "Ann", "ticket 7", code="404")


def rows(*steps: Transition | None) -> list[dict[str, Any]]:
    """The steps' events as they are read back."""
    return [asdict(step.event) for step in steps if step and step.event]


def query(payout: PayoutState, answer: Any) -> Transition:
    step = reports.on_query_answer(payout, answer, asked_at=NOW, now=NOW, policy=POLICY, jitter=0.0)
    assert step is not None
    return step


def done(payout: PayoutState, decision: Decision) -> Transition:
    return actions.decide(payout, decision, ABSENT, now=NOW, policy=POLICY, control=Control.PASSED)


def test_a_proposal_changes_nothing() -> None:
    """It is one event that says who wants what and why, chained to the others."""
    before = unknown()
    step = proposal(before, RESEND, now=NOW)
    assert replace(
        step.after,
        sequence=before.sequence,
        journal_hash=before.journal_hash,
        updated_at=before.updated_at,
    ) == (before)
    assert step.event is not None
    assert (step.event.kind, step.event.actor) == ("proposed", "person:Ann")
    assert step.event.detail == {
        "act": "resend",
        "reason": "ticket 7",
        "code": "404",
        "status": "unknown",
    }


def test_the_journal_of_a_proposed_and_approved_act_holds() -> None:
    first = lifecycle.accept(
        replace(unknown(), sequence=0, journal_hash="0" * 64, status=Status.QUEUED),
        claim_id="c",
        now=T0,
        policy=POLICY,
    )
    lost = lifecycle.on_lease_expired(first.after, now=NOW)
    assert lost is not None
    asked = proposal(lost.after, RESEND, now=NOW)
    sent = actions.decide(
        asked.after,
        approved(RESEND, "Bob", "yes"),
        ABSENT,
        now=NOW + POLICY.visibility_delay,
        policy=POLICY,
        control=Control.PASSED,
    )
    assert_chained([first, lost, asked, sent])
    assert sent.event is not None
    assert sent.event.detail["proposed_by"] == "Ann"
    assert sent.event.detail["reason"] == "ticket 7; yes"
    assert sent.event.actor == "person:Bob"


@pytest.mark.parametrize(
    "decision", [RESEND, Decision(Action.ACCEPT_AS, "Ann: the boss", "told", end=Status.FAILED)]
)
def test_a_proposal_is_read_back_as_it_was_made(decision: Decision) -> None:
    assert open_proposal(rows(proposal(unknown(), decision, now=NOW))) == decision


def test_what_overtakes_a_proposal() -> None:
    """A move, or another act; not a note, and not an answer that moved nothing."""
    payout = unknown()
    asked = proposal(payout, RESEND, now=NOW)
    note = done(asked.after, Decision(Action.NOTE, "Bob", "I am on it"))
    absent = query(note.after, ABSENT)
    assert open_proposal(rows(asked, note, absent)) == RESEND
    moved = query(absent.after, make_report("1"))
    assert open_proposal(rows(asked, note, absent, moved)) is None
    acted = done(absent.after, approved(RESEND, "Bob", "yes"))
    assert open_proposal(rows(asked, note, absent, acted)) is None
    other = Decision(Action.REJECT, "Bob", "no longer wanted")
    assert open_proposal(rows(asked, proposal(asked.after, other, now=NOW))) == other
    assert open_proposal([]) is None
    assert open_proposal(rows(note, absent)) is None


@pytest.mark.parametrize("name", ["Ann", "ANN", " ann ", "A n n", "\uff21nn"])
def test_nobody_approves_their_own_proposal(name: str) -> None:
    """However the name is written."""
    with pytest.raises(NotAllowed, match="another person must approve"):
        approved(RESEND, name, "yes")


def test_which_acts_need_a_second_person() -> None:
    """All on an outcome that nobody knows, and to say an end that EPAY does not say."""
    needed = {
        (status, act) for status in Status for act in Action if is_needed(standing(status), act)
    }
    on_unknown = {(Status.UNKNOWN, act) for act in Action if act is not Action.NOTE}
    assert needed == on_unknown | {(status, Action.ACCEPT_AS) for status in Status}
    assert approval.PROPOSED not in {act.value for act in Action}
