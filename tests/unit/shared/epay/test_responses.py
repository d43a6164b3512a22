"""Answers read from bytes, hostile ones included."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.gateway import Balance, Limit, OutcomeUnknown, Refused, Report
from shared.epay.responses import (
    Answer,
    decimal,
    read_answer,
    read_balances,
    read_created,
    read_limit,
    read_queried,
    text,
)
from shared.epay.signing import NestedForm
from tests.support.scripted_gateway import KEY, envelope, order_data


def read(body: bytes, *, demand: bool = False) -> Answer | Refused | OutcomeUnknown:
    """Read with the test key."""
    return read_answer(body, [KEY], NestedForm.COMMA, demand_signature=demand)


def answer(data: Any) -> Answer:
    """A positive answer around data."""
    found = read(envelope(data))
    assert isinstance(found, Answer)
    return found


@pytest.mark.parametrize("code", [1, "1"])
def test_signed_positive_answer_is_read(code: object) -> None:
    """The code may be a number or its text."""
    found = read(envelope(order_data(), code=code), demand=True)
    assert isinstance(found, Answer)
    assert found.epay_account == "test2020@epay.com"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "answer is not JSON"),
        (b"<html>", "answer is not JSON"),
        (b"\xff\xfe\xff", "answer is not JSON"),
        (b"[" * 100_000, "answer is not JSON"),
        (b'{"code":' + b"9" * 10_000 + b"}", "answer is not JSON"),
        (b'{"code":1,"data":{"amount":NaN}}', "answer is not JSON"),
        (b'{"code":1,"data":{"amount":1e9999999999999999999}}', "answer is not JSON"),
        (b"[]", "answer is not an object"),
        (b"null", "answer is not an object"),
        (b"{}", "answer has no code"),
        (b'{"code":true,"data":{}}', "answer has no code"),
        (b'{"code":1.0,"data":{}}', "answer has no code"),
        (b'{"code":"01","data":{}}', "answer has no code"),
        (b'{"code":"one"}', "answer has no code"),
        (b'{"code":[1]}', "answer has no code"),
        (b'{"code":1%s}' % (b"0" * 30), "answer has no code"),
        (b'{"code":1}', "answer has no data"),
        (b'{"code":1,"data":null}', "answer has no data"),
        (b'{"code":1,"data":"ok"}', "answer has no data"),
        (b'{"code":1,"data":"ok","sign":"x"}', "answer has data of a wrong type"),
        (b'{"code":5,"data":7,"sign":"x"}', "answer has data of a wrong type"),
    ],
)
def test_what_is_no_answer_leaves_the_outcome_unknown(body: bytes, reason: str) -> None:
    """Each with a short stable reason."""
    assert read(body) == OutcomeUnknown(reason)


@pytest.mark.parametrize("signature", ["0" * 64, "x", 7, True, ["a"], {"a": 1}, "ä"])
@pytest.mark.parametrize("code", [1, 1005])
def test_wrong_signature_over_data_leaves_the_outcome_unknown(code: int, signature: Any) -> None:
    """A refusal too: whoever forged it wants the payout made again."""
    found = read(envelope(order_data(), signature, code=code))
    assert found == OutcomeUnknown("answer bears a wrong signature")


@pytest.mark.parametrize("change", [{"sign": ""}, {"sign": None}])
def test_unsigned_answer_counts_unless_a_signature_is_demanded(change: dict[str, Any]) -> None:
    """Samples show an empty sign, so it is a setting."""
    body = envelope(order_data(), **change)
    assert isinstance(read(body), Answer)
    assert read(body, demand=True) == OutcomeUnknown("answer bears no signature")


@pytest.mark.parametrize("data", [None, {}, [], "", {"why": "x"}])
@pytest.mark.parametrize("demand", [False, True])
def test_refusal_needs_neither_data_nor_signature(data: Any, demand: bool) -> None:
    """Nothing is documented of a failed call's answer."""
    body = envelope(data, "", code=1005, message="no")
    assert read(body, demand=demand) == Refused("1005", "no")
    assert read(b'{"code":"-3"}', demand=demand) == Refused("-3", "")


def test_refusal_that_is_rightly_signed_is_a_refusal() -> None:
    """The signature covers its data."""
    assert read(envelope({"why": "x"}, code=2, message="m")) == Refused("2", "m")


def test_words_of_a_refusal_are_bounded_and_printable() -> None:
    """They end in a database and on a person's screen."""
    found = read(envelope(None, code=2, message="a\x00\x1b[31m\n\ud800" + "b" * 5000))
    assert isinstance(found, Refused)
    assert found.message.startswith("a??[31m??b")
    assert len(found.message) == 200
    assert read(envelope(None, code=2, message={"a": 1})) == Refused("2", "")


def test_created_order_is_read_by_section_3_1() -> None:
    """Settlement currency and payer's fee."""
    assert read_created(answer(order_data())) == Report(
        source="create",
        epay_account="test2020@epay.com",
        merchant_order_no="0702001122",
        epay_order_no="231151598560704599183360",
        status="1",
        amount=Decimal(10),
        currency="USD",
        fee=Decimal("2.1"),
    )


def test_created_order_falls_back_to_the_names_of_a_query() -> None:
    """When its own names are absent."""
    data = order_data(settlementCurrency=None, currency="EUR", payerFee="", fee="3")
    report = read_created(answer(data))
    assert isinstance(report, Report)
    assert (report.currency, report.fee) == ("EUR", Decimal(3))


def test_queried_order_is_read_by_section_3_2() -> None:
    """Its own currency first; the pin code is not kept."""
    data = order_data(currency="EUR", fee="1.5", status=7, pinCode="4711471147")
    report = read_queried(answer(data))
    assert isinstance(report, Report)
    assert (report.source, report.currency, report.fee) == ("query", "EUR", Decimal("1.5"))
    assert report.status == "7"
    assert "4711471147" not in repr(report)
    other = read_queried(answer(order_data()))
    assert isinstance(other, Report)
    assert (other.currency, other.fee) == ("USD", None)


@pytest.mark.parametrize("data", [[{"a": "b"}], {}])
def test_order_without_fields_leaves_the_outcome_unknown(data: Any) -> None:
    """An empty object says nothing of an order."""
    assert read_created(answer(data)) == OutcomeUnknown("answer has no data")
    assert read_queried(answer(data)) == OutcomeUnknown("answer has no data")


def test_limit_is_read_and_anything_else_unknown() -> None:
    """Both ends or none."""
    found = read_limit(answer({"singleMin": "0", "singleMax": "9999999"}))
    assert found == Limit(Decimal(0), Decimal(9999999))
    assert read_limit(answer({"singleMin": "0"})) == OutcomeUnknown("answer holds no limit")
    assert isinstance(read_limit(answer([{"a": "1"}])), OutcomeUnknown)


def test_balances_are_read_and_anything_else_unknown() -> None:
    """One bad entry spoils the list."""
    good = {"currency": "EUR", "balance": "5313.61"}
    assert read_balances(answer([good])) == [Balance("EUR", Decimal("5313.61"))]
    assert read_balances(answer([])) == []
    for bad in ({"currency": "EUR"}, {"balance": "1"}, "EUR", ["EUR", "1"]):
        assert isinstance(read_balances(answer([good, bad])), OutcomeUnknown)
    assert isinstance(read_balances(answer(good)), OutcomeUnknown)


@pytest.mark.parametrize("value", ["10", "10.0", "10.00", 10, Decimal("10.0")])
def test_decimals_are_exact_and_compare_as_numbers(value: object) -> None:
    """However many places they came with."""
    assert decimal(value) == Decimal(10)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1e",
        "E+2",
        "1E+",
        "1E 2",
        "1E+2.0",
        "1E+30",
        "1E-31",
        "1E+1000000",
        "1E-1000000",
        "0E+99",
        "NaN",
        "Infinity",
        "1,000",
        ".5",
        "5.",
        "--1",
        "\u0661",
        "1_0",
        None,
        True,
        1.5,
        [],
        {},
        "9" * 31,
        "0." + "1" * 31,
        "1\n",
        Decimal("1E+30"),
        "0x1",
    ],
)
def test_anything_but_a_plain_decimal_is_none(value: object) -> None:
    """A number that could be read in two ways is no number."""
    assert decimal(value) is None


def as_java_prints(unscaled: int, scale: int) -> str:
    """`BigDecimal(unscaled, scale).toString()`, by its documentation."""
    digits, sign = str(abs(unscaled)), "-" if unscaled < 0 else ""
    adjusted = len(digits) - 1 - scale
    if scale >= 0 and adjusted >= -6:
        padded = digits.rjust(scale + 1, "0")
        return sign + (f"{padded[:-scale]}.{padded[-scale:]}" if scale else padded)
    first, rest = digits[0], digits[1:]
    return f"{sign}{first}{'.' if rest else ''}{rest}E{adjusted:+d}"


@given(st.integers(-(10**18), 10**18), st.integers(-11, 12))
def test_every_number_that_java_prints_is_read_exactly(unscaled: int, scale: int) -> None:
    """And written without an exponent from then on."""
    printed = as_java_prints(unscaled, scale)
    found = decimal(printed)
    assert found is not None
    assert found == Decimal(unscaled) * Decimal(10) ** -scale == decimal(Decimal(printed))
    assert "E" not in str(found) or abs(found) < Decimal("1E-6")


@pytest.mark.parametrize(
    ("printed", "plain"),
    [("1E+2", "100"), ("1.0E10", "10000000000"), ("1e2", "100"), ("2.5E-1", "0.25"), ("0E-8", "0")],
)
def test_numbers_with_an_exponent(printed: str, plain: str) -> None:
    """Of BigDecimal, double and JavaScript."""
    assert decimal(printed) == Decimal(plain)


@pytest.mark.parametrize("raw", [b"1E+2", b'"1E+2"', b"1e2", b"100.00"])
def test_round_amount_of_an_answer_is_not_missing(raw: bytes) -> None:
    """As text or as a number; the signature is over the text that came."""
    printed = raw.decode().strip('"').upper().replace("E2", "E+2")
    body = envelope(order_data(amount=printed)).replace(f'"{printed}"'.encode(), raw)
    found = read(body)
    assert isinstance(found, Answer)
    report = read_created(found)
    assert isinstance(report, Report)
    assert report.amount == Decimal(100)


def test_huge_exponent_in_an_answer_does_no_harm() -> None:
    """Neither as a number nor as text: the amount is then missing, and a person looks."""
    for raw in (b"1E+1000000", b'"1E+1000000"', b"1E-1000000"):
        printed = raw.decode().strip('"')
        body = envelope(order_data(amount=printed)).replace(f'"{printed}"'.encode(), raw)
        found = read(body)
        assert isinstance(found, Answer)
        report = read_created(found)
        assert isinstance(report, Report)
        assert report.amount is None


@pytest.mark.parametrize("value", [None, "", "a" * 201, "a\x00", "a\n", "\ud800", 1.5, True, []])
def test_text_that_a_database_could_choke_on_is_none(value: object) -> None:
    """Never cut: a shortened order number would be another one's."""
    assert text(value) is None


def test_short_printable_text_and_integers_are_text() -> None:
    """Beyond ASCII too."""
    assert text("Zahlung ä") == "Zahlung ä"
    assert text(7) == "7"


def test_number_in_data_keeps_its_digits_for_the_signature() -> None:
    """10.00 is signed as 10.00 even when it comes as a number."""
    body = envelope(order_data(amount="10.00")).replace(b'"amount": "10.00"', b'"amount": 10.00')
    found = read(body)
    assert isinstance(found, Answer)
    report = read_created(found)
    assert isinstance(report, Report)
    assert report.amount == Decimal("10.00")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["code", "data", "sign"], json_values)))
def test_any_json_is_survived(whole: dict[str, Any]) -> None:
    """Reading never raises."""
    found = read(json.dumps(whole).encode())
    if isinstance(found, Answer):
        for reader in (read_created, read_queried, read_limit, read_balances):
            reader(found)
