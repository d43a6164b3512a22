"""What `payouts doctor` concludes from EPAY's answers to a right and a wrong signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ops import gateway_check
from ops.finding import FAIL, OK, WARN, Finding
from ops.gateway_check import check_gateways
from shared.domain.gateway import OrderAnswer, OutcomeUnknown, Refused
from shared.domain.payout import PayoutState
from shared.epay.config import EpayConfig
from tests.support.factories import API_KEY, make_payout, make_report, make_settings

ABSENT = Refused("2001", "order does not exist")
BAD_SIGN = Refused("2002", "signature error")
BLOCKED = Refused("3001", "IP address is not allowed")
LOST = OutcomeUnknown("read timeout")
KNOWN = make_payout(merchant_order_no="order-7", epay_order_no="E-9")
SHOWN = make_report("7", payout=KNOWN)


def check(
    monkeypatch: pytest.MonkeyPatch,
    own: OrderAnswer,
    broken: OrderAnswer,
    control: OrderAnswer | None = None,
    **changes: object,
) -> list[Finding]:
    """`control` answers the query for KNOWN; None: there is no such payout yet."""
    asked: list[str] = []

    def ask(config: EpayConfig, order_no: str) -> OrderAnswer:
        if order_no == KNOWN.merchant_order_no:
            assert control is not None
            return control
        asked.append(order_no)
        return own if config.api_key.get_secret_value() == API_KEY else broken

    monkeypatch.setattr(gateway_check, "_ask", ask)
    known: PayoutState | None = None if control is None else KNOWN
    found = check_gateways(make_settings(**changes), lambda _: known)
    assert len(set(asked)) == 1
    assert asked[0].startswith("payouts-doctor-")
    return found


CODES: Mapping[str, object] = {"epay_not_found_codes": "2001"}


@pytest.mark.parametrize("codes", [{}, CODES])
@pytest.mark.parametrize("message", ["signature error", "signature error (trace 8f2e)"])
def test_one_code_for_both_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, message: str, codes: Mapping[str, object]
) -> None:
    """Whatever the messages say: a trace id differs each time."""
    own = replace(BAD_SIGN, message=message)
    [found] = check(monkeypatch, own, BAD_SIGN, **codes)
    assert found.mark == FAIL
    assert "the key is not proven" in found.words
    assert "IP allow-list" in found.words
    assert "Do not add this code" in found.words
    assert "authentication OK" not in found.words


@pytest.mark.parametrize("own", [ABSENT, BLOCKED])
@pytest.mark.parametrize(("codes", "mark"), [({}, WARN), (CODES, FAIL)])
def test_another_code_of_no_known_meaning_proves_no_key(
    monkeypatch: pytest.MonkeyPatch, own: Refused, codes: Mapping[str, object], mark: str
) -> None:
    """It may refuse the address, and is not to be taken for `no such order` by itself."""
    codes = {"epay_not_found_codes": "404"} if codes else {}
    [found] = check(monkeypatch, own, BAD_SIGN, **codes)
    assert found.mark == mark
    assert "the key is not proven: EPAY judges the signatures differently" in found.words
    assert f"Ask EPAY what code {own.code} means" in found.words
    assert "IP allow-list" in found.words
    assert "authentication OK" not in found.words


def test_no_such_order_proves_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """EPAY looked the order up for our signature, and refused the wrong one."""
    [found] = check(monkeypatch, ABSENT, BAD_SIGN, **CODES)
    assert found.mark == OK
    assert found.words.startswith("answers, authentication OK. A made-up order number gets code")


@pytest.mark.parametrize("broken", [LOST, make_report("7")])
@pytest.mark.parametrize("control", [None, SHOWN])
def test_a_wrong_signature_that_is_not_refused_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, broken: OrderAnswer, control: OrderAnswer | None
) -> None:
    [found] = check(monkeypatch, ABSENT, broken, control, **CODES)
    assert (found.mark, "the key is not proven" in found.words) == (WARN, True)


def test_a_payout_that_epay_shows_proves_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the code of a made-up order may be suggested; and one code for both is no failure."""
    [found] = check(monkeypatch, ABSENT, BAD_SIGN, SHOWN)
    assert found.mark == WARN
    assert "authentication OK: it shows order-7" in found.words
    assert "If EPAY confirms that it means `no such order`, add it" in found.words
    [found] = check(monkeypatch, BAD_SIGN, BAD_SIGN, SHOWN)
    assert found.mark == WARN
    assert "authentication OK: it shows order-7" in found.words
    assert "only law 12 tells them apart" in found.words
    assert check(monkeypatch, ABSENT, BAD_SIGN, SHOWN, **CODES)[0].mark == OK


@pytest.mark.parametrize("control", [BLOCKED, make_report("7", payout=KNOWN, amount=None)])
def test_a_payout_that_epay_must_show_and_does_not(
    monkeypatch: pytest.MonkeyPatch, control: OrderAnswer
) -> None:
    """The refusal is about us, or EPAY has another order: never a proof of the key."""
    [found] = check(monkeypatch, ABSENT, BAD_SIGN, control, **CODES)
    assert found.mark == FAIL
    assert "order-7" in found.words
    assert "IP allow-list" in found.words


def test_a_control_without_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = check(monkeypatch, BAD_SIGN, BAD_SIGN, LOST)
    assert found.mark == FAIL


def test_no_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = check(monkeypatch, LOST, BAD_SIGN)
    assert found == Finding("gateway", "no usable answer: read timeout", FAIL)


def test_an_order_under_a_made_up_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = check(monkeypatch, make_report("7"), BAD_SIGN)
    assert (found.mark, "made up" in found.words) == (WARN, True)
