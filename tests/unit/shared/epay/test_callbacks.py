"""Callbacks by epay-gateway section 5."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.epay.callbacks import parse, sign_callback, verify
from shared.epay.signing import NestedForm

KEY = "TESTKEY123"
FIELDS = {
    "epayAccount": "test2020@epay.com",
    "merchantOrderNo": "211151436637284296077312",
    "epayOrderNo": "210911037",
    "pinCode": "11021",
    "amount": "11.00",
    "paymentAmount": "11.00",
    "paymentCurrency": "EUR",
    "receiveAmount": "70.65",
    "receiveCurrency": "CNY",
    "settlementCurrency": "USD",
    "fee": "5.11",
    "rate": "0.155701",
    "status": "7",
    "accountNo": "addd11245",
    "remark": "",
}


def signed(**changes: str) -> dict[str, str]:
    """The sample of section 5 with changes, rightly signed."""
    fields = {**FIELDS, **changes}
    return {**fields, "sign": sign_callback(fields, KEY, NestedForm.COMMA)}


def ok(fields: dict[str, str], **options: object) -> bool:
    """Verify with the test key."""
    return verify(fields, [KEY], NestedForm.COMMA, **options)  # type: ignore[arg-type]


def test_report_holds_what_the_callback_says() -> None:
    """Amount and fee as decimals, the settlement currency."""
    report = parse(FIELDS)
    assert report.source == "callback"
    assert report.epay_account == "test2020@epay.com"
    assert report.merchant_order_no == "211151436637284296077312"
    assert report.epay_order_no == "210911037"
    assert (report.status, report.currency) == ("7", "USD")
    assert (report.amount, report.fee) == (Decimal(11), Decimal("5.11"))
    assert "11021" not in repr(report)
    assert "addd11245" not in repr(report)


def test_payment_currency_stands_in_for_a_missing_settlement_currency() -> None:
    """The other name that section 5 has."""
    assert parse({**FIELDS, "settlementCurrency": ""}).currency == "EUR"


def test_amount_with_an_exponent_is_read_exactly() -> None:
    """As Java prints a round number; signed as the text that came."""
    fields = signed(amount="1E+2", fee="5E-1")
    assert ok(fields)
    report = parse(fields)
    assert (str(report.amount), str(report.fee)) == ("100", "0.5")
    assert parse({**FIELDS, "amount": "1E+1000000"}).amount is None


def test_empty_form_gives_a_report_of_nothing() -> None:
    """No field is guessed."""
    report = parse({})
    assert (report.status, report.amount, report.merchant_order_no) == (None, None, None)


def test_digest_is_that_of_the_written_out_string() -> None:
    """By hand: sorted, empty ones dropped, key at the end."""
    text = "&".join(f"{name}={value}" for name, value in sorted(FIELDS.items()) if value)
    digest = hashlib.sha256(f"{text}&key={KEY}".encode()).hexdigest().upper()
    assert sign_callback(FIELDS, KEY, NestedForm.COMMA) == digest


def test_right_signature_is_true_and_any_change_false() -> None:
    """A callback that was touched is not believed."""
    fields = signed()
    assert ok(fields)
    for name in [name for name, value in fields.items() if value]:
        assert not ok({**fields, name: fields[name] + "0"}), name
    assert not ok({**fields, "added": "1"})
    assert not ok({**fields, "sign": ""})
    assert not ok(FIELDS)


def test_empty_added_field_and_excluded_fields_change_nothing() -> None:
    """They are no part of the signed text."""
    assert ok({**signed(), "remark": "", "isForward": "1", "payUrl": "http://x?a=1&status=7"})


def test_excluded_names_can_be_chosen() -> None:
    """The list is [P], so it is an argument."""
    fields = {**signed(), "isForward": "1"}
    assert not ok(fields, excluded=())
    assert ok({**signed(), "extra": "1"}, excluded=("extra",))


def test_previous_key_is_accepted() -> None:
    """During a change of key."""
    assert verify(signed(), ["new", KEY], NestedForm.COMMA)


def test_json_message_is_written_as_nested_value() -> None:
    """Keys sorted, in the form that is set."""
    fields = {"status": "6", "message": '{"b":"2","a":10.00}'}
    digest = hashlib.sha256(f"message={{a=10.00,b=2}}&status=6&key={KEY}".encode()).hexdigest()
    assert ok({**fields, "sign": digest.upper()})
    assert not ok({**fields, "sign": digest.upper()}, parse_message=False)


@pytest.mark.parametrize("message", ["no JSON", "7", '"text"', "null", "[", "NaN", "[NaN]"])
def test_message_that_is_no_object_is_written_as_received(message: str) -> None:
    """Only an object or an array is parsed."""
    digest = hashlib.sha256(f"message={message}&key={KEY}".encode()).hexdigest().upper()
    assert ok({"message": message, "sign": digest})


@pytest.mark.parametrize(
    "message",
    [
        "[" * 100000,
        "[" * 500 + "]" * 500,
        '{"a":' * 100000,
        "9" * 10000,
        "[1e99999999999999999]",
        '{"a":"\\ud800"}',
        "�",
        "[" + "9" * 10000 + "]",
    ],
)
def test_hostile_message_is_false_and_no_error(message: str) -> None:
    """Depth, size and broken text."""
    assert not ok({**signed(), "message": message})


def test_value_that_holds_another_field_is_false() -> None:
    """One signed text must not be readable as two callbacks: here a failure read as a success."""
    genuine = {**FIELDS, "status": "6", "remark": "x&settlementCurrency=USD&status=7&zz="}
    digest = sign_callback(genuine, KEY, NestedForm.COMMA)
    forged = {name: value for name, value in FIELDS.items() if name != "status"} | {
        "remark": "x",
        "status": "7",
        "zz": "&settlementCurrency=USD&status=6",
    }
    assert sign_callback(forged, KEY, NestedForm.COMMA) == digest
    assert not ok({**forged, "sign": digest})
    assert not ok({**genuine, "sign": digest})


def test_name_that_holds_a_separator_is_false() -> None:
    """The same trick through the names."""
    fields = {"a": "1", "b": "2"}
    digest = sign_callback(fields, KEY, NestedForm.COMMA)
    assert ok({**fields, "sign": digest})
    assert not ok({"a=1&b": "2", "sign": digest})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.text(), st.text()))
def test_any_form_is_survived(fields: dict[str, str]) -> None:
    """Neither reading nor verifying raises."""
    parse(fields)
    assert not ok(fields)
