"""What a close reading of the lifecycle once found, held for good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.config.settings import Settings, SettingsError, load
from shared.domain import lifecycle, notifications, reports, review
from shared.domain.gateway import NeverSent
from shared.domain.payout import PayoutState, Status
from shared.messaging.callback_message import CallbackMessage
from shared.observability.logging import configure_logging, mask
from shared.storage.journal_audit import first_break
from tests.support.factories import (
    ABSENT,
    LOST,
    NO_CODES,
    POLICY,
    SECOND,
    T0,
    VAGUE,
    accepted,
    after_send,
    called_back,
    created,
    make_payout,
    make_report,
    queried,
    standing,
    unknown,
)
from tests.support.logs import root_logger_restored, written_logs


def queued_again() -> PayoutState:
    """Sent, proven absent, queued for another send."""
    payout = unknown()
    for at in (10, 310, 610):
        payout = queried(payout, ABSENT, after_send(at))
    assert payout.status is Status.QUEUED
    return payout


def test_nothing_is_sent_past_the_horizon() -> None:
    """Law 3: queued in time by proof, but its turn came too late: a person decides."""
    step = lifecycle.claim_for_submission(
        queued_again(), claim_id="c2", now=after_send(86_401), policy=POLICY
    )
    assert step is not None
    assert step.after.status is Status.QUEUED
    assert step.after.due_at == after_send(86_401) + timedelta(days=1)
    assert review.code_of(step.after.review_reason or "") == review.RESEND_HORIZON
    again = lifecycle.claim_for_submission(
        step.after, claim_id="c3", now=after_send(200_000), policy=POLICY
    )
    assert again is not None
    assert again.event is None
    assert again.after.review_since == after_send(86_401)


def test_a_send_that_never_left_does_not_carry_it_past_the_horizon() -> None:
    """Law 3: tries that provably never left do not put the first send later."""
    step = lifecycle.claim_for_submission(
        queued_again(), claim_id="c2", now=after_send(86_390), policy=POLICY
    )
    assert step is not None
    payout = created(
        step.after, NeverSent("connection refused"), claim_id="c2", now=after_send(86_402)
    )
    again = lifecycle.claim_for_submission(
        payout, claim_id="c3", now=after_send(90_000), policy=POLICY
    )
    assert again is not None
    assert again.after.status is Status.QUEUED


def test_what_was_never_sent_has_no_horizon() -> None:
    """A payout whose every try provably never left is tried on, however old it is."""
    payout = created(accepted(), NeverSent("connection refused"))
    step = lifecycle.claim_for_submission(
        payout, claim_id="c2", now=after_send(10**6), policy=POLICY
    )
    assert step is not None
    assert step.after.status is Status.SUBMITTING


def test_a_mismatch_stops_the_proof_of_absence() -> None:
    """EPAY knows something under our number: "no such order" proves nothing any more."""
    payout = called_back(unknown(), make_report("7", "callback", amount=Decimal("9.50")))
    for at in (310, 610, 910, 1210):
        payout = queried(payout, ABSENT, after_send(at))
    assert payout.status is Status.UNKNOWN


def test_a_mismatch_stops_the_send() -> None:
    """Law 6 moves nothing, and nothing is paid on top of it either."""
    payout = called_back(
        queued_again(), make_report("7", "callback", amount=Decimal("9.50")), now=after_send(611)
    )
    step = lifecycle.claim_for_submission(payout, claim_id="c2", now=after_send(612), policy=POLICY)
    assert step is not None
    assert step.after.status is Status.QUEUED
    assert step.after.due_at is not None


def test_the_journal_of_an_overdue_payout_holds() -> None:
    """A reason for review that a failed query brings has its event."""
    steps = [lifecycle.accept(make_payout(), claim_id="c1", now=T0, policy=POLICY)]
    answer = make_report("1", "create")
    steps.append(
        lifecycle.on_create_answer(
            steps[0].after, answer, claim_id="c1", now=T0, policy=POLICY, jitter=0.0
        )
    )
    for day in (0, 1):
        now = T0 + POLICY.review_after + timedelta(days=day)
        late = reports.on_query_answer(
            steps[-1].after, LOST, asked_at=now, now=now, policy=POLICY, jitter=0.0
        )
        assert late is not None
        steps.append(late)
    events = [step.event for step in steps if step.event]
    assert [event.kind for event in events][2:] == ["overdue"]
    assert first_break(steps[-1].after, events) is None


@pytest.mark.parametrize("code", ["11", "21"])
def test_a_strange_status_after_the_end_is_flagged(code: str) -> None:
    """Law 5: this is how a reversal would show."""
    after = called_back(standing(Status.SUCCEEDED), make_report(code, "callback"))
    assert review.code_of(after.review_reason or "") == review.CONTRADICTION


def test_a_reason_keeps_its_date_over_queries() -> None:
    """Since when a person is needed does not move with each query."""
    start = T0 + POLICY.review_after
    payout = queried(unknown(NO_CODES), VAGUE, start, policy=NO_CODES)
    again = queried(payout, VAGUE, start + timedelta(days=1), policy=NO_CODES)
    assert again.review_since == start


def test_a_reason_keeps_its_date_over_callbacks() -> None:
    """Nor with each callback."""
    payout = called_back(
        standing(Status.PROCESSING), make_report("11", "callback"), now=after_send(5)
    )
    again = called_back(payout, make_report("11", "callback"), now=after_send(500))
    assert again.review_since == after_send(5)


def test_a_callback_that_is_no_end_does_not_clear_overdue() -> None:
    """Only an end settles that there was none."""
    now = T0 + POLICY.review_after
    payout = queried(standing(Status.PROCESSING), make_report("1"), now)
    again = called_back(payout, make_report("1", "callback"), now=now + SECOND)
    assert again.review_reason == payout.review_reason


def test_a_replayed_callback_is_recorded_once() -> None:
    """What changes nothing is marked so that the store writes it once."""
    first = reports.on_callback(
        standing(Status.PROCESSING), make_report("7", "callback"), now=T0, policy=POLICY, jitter=0
    )
    again = reports.on_callback(
        first.after, make_report("7", "callback"), now=T0, policy=POLICY, jitter=0
    )
    assert (first.skip_if_already_recorded, again.skip_if_already_recorded) == (False, True)
    assert replace(again.after, sequence=0, journal_hash="", updated_at=T0) == replace(
        first.after, sequence=0, journal_hash="", updated_at=T0
    )


def test_a_small_fee_is_told_as_a_plain_decimal() -> None:
    """No exponent in a decimal string."""
    fee = Decimal("0.00000001")
    step = reports.on_callback(
        accepted(), make_report("7", "callback", fee=fee), now=T0, policy=POLICY, jitter=0
    )
    assert notifications.messages_for(step)[0].kwargs["fee"] == "0.00000001"


def test_a_callback_message_names_an_order() -> None:
    """One without is refused where it is made."""
    with pytest.raises(ValueError, match="merchant_order_no"):
        CallbackMessage.of(make_report("7", "callback", merchant_order_no=None), verified=True)


def test_no_password_in_the_repr_of_settings() -> None:
    """A URL may hold one."""
    settings = Settings(
        database_url="postgresql://u:hunter2@h/d",
        redis_url="redis://:hunter2@h",
        celery_result_backend="redis://:hunter2@h",
    )
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("value", ["inf", "nan", "1e300"])
def test_times_without_end_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, at the start."""
    monkeypatch.setenv("EPAY_SETTLE_SECONDS", value)
    with pytest.raises(SettingsError, match="EPAY_SETTLE_SECONDS"):
        load()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass on what is not set as empty."""
    for name in ("EPAY_TOTAL_TIMEOUT", "EPAY_LEASE_SECONDS", "EPAY_SUCCESS_URL_METHOD"):
        monkeypatch.setenv(name, "")
    assert load().epay_lease_seconds == 60


def test_a_short_secret_is_masked_whole() -> None:
    """Four of five characters shown are no mask."""
    assert mask("11021") == "*****"
    assert mask("U1234567") == "****4567"


def test_nested_fields_are_masked_in_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """However deep an account number stands, and a pin or key is not shown at all."""
    import structlog

    with root_logger_restored():
        configure_logging("json")
        structlog.get_logger("t").info(
            "x", p={"accountNo": "41111810111111111111", "l": [{"pinCode": "110211021"}]}
        )
        said = written_logs(capsys)
    assert "41111810111111111111" not in said
    assert "1021" not in said


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of files named like the settings, as containers mount them."""
    (tmp_path / "epay_api_key").write_text("from-a-file")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("EPAY_API_KEY", raising=False)
    assert load().epay_api_key.get_secret_value() == "from-a-file"
    monkeypatch.setenv("EPAY_API_KEY", "from-the-environment")
    assert load().epay_api_key.get_secret_value() == "from-the-environment"
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match="SECRETS_DIR"):
        load()
