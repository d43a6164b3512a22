"""The table of transitions; docs/lifecycle.md is compared with it in tests/unit/docs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain import transitions
from shared.domain.payout import Status
from shared.domain.transitions import FINAL, STATUSES_EPAY_REPORTS, TRANSITIONS, status_from_epay
from tests.support.factories import make_payout


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_its_row_of_moves(status: Status) -> None:
    """And a move that is not in it is refused."""
    payout = replace(make_payout(), status=status)
    for target in Status:
        if target is status or target in TRANSITIONS[status]:
            assert transitions.transition(payout, target).status is target
        else:
            with pytest.raises(transitions.IllegalTransition, match=f"^{status} -> {target}$"):
                transitions.transition(payout, target)


def test_no_transition_leaves_a_final_status() -> None:
    assert {status for status in Status if not TRANSITIONS[status]} == FINAL


@pytest.mark.parametrize("status", sorted(set(Status) - FINAL))
def test_every_status_that_epay_reports_is_accepted_in_an_open_one(status: Status) -> None:
    assert TRANSITIONS[status] | {status} >= STATUSES_EPAY_REPORTS


@pytest.mark.parametrize("code", [None, "", "2", "07", "7 ", "succeeded"])
def test_undocumented_code_is_not_final(code: str | None) -> None:
    assert status_from_epay(code) is Status.PROCESSING
