"""The request: what is accepted, and with which words everything else is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import contract
from shared.contract import InvalidRequest, Notify, PayoutRequest, parse_notify, parse_request
from tests.support.factories import request_kwargs

SECRET = "41111810111111111111"
BIG = 10_000_000
GOOD = request_kwargs("0702001122", account_no=SECRET)
NOTIFY: dict[str, Any] = {"task": "shop.told", "queue": "shop"}
TEXTS = ["merchant_order_no", "amount", "currency", "channel_code", "account_no"]
NO_TEXT = [None, 12, 12.5, float("nan"), True, b"12", ["12"], {"a": "12"}]
CONTROL = ["\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800", "\u200b"]


def refused(**changes: Any) -> InvalidRequest:
    """The refusal of a request that is good but for the changes."""
    with pytest.raises(InvalidRequest) as caught:
        parse_request({**GOOD, **changes})
    return caught.value


def code_of(**changes: Any) -> tuple[str, str]:
    """The code and the field of a refusal."""
    error = refused(**changes).error
    return error["code"], error["field"]


def test_the_least_request() -> None:
    """Five fields, the rest by default."""
    asked = parse_request(GOOD)
    assert asked.model_dump() == {
        **GOOD,
        "remark": None,
        "extend_fields": None,
        "epay_account": None,
        "notify": None,
    }


def test_the_whole_request() -> None:
    """Every field of the contract, kept as it came."""
    fields = {
        **GOOD,
        "remark": "thank you, Zoë 🙂",
        "extend_fields": {"order.id": "7", "empty": ""},
        "epay_account": "shop@example.com",
        "notify": {**NOTIFY, "on": ["accepted", "final"]},
    }
    asked = parse_request(fields)
    assert asked.model_dump(mode="json") == fields


@pytest.mark.parametrize("field", TEXTS)
def test_a_missing_field_is_named(field: str) -> None:
    """The code says that it is missing, the field which."""
    with pytest.raises(InvalidRequest) as caught:
        parse_request({name: value for name, value in GOOD.items() if name != field})
    assert (caught.value.error["code"], caught.value.error["field"]) == ("missing_field", field)


def test_no_kwargs_at_all() -> None:
    """The first field that is missing is named."""
    with pytest.raises(InvalidRequest, match=r"^missing_field: merchant_order_no "):
        parse_request({})


@pytest.mark.parametrize("name", ["accountNo", "notifyUrl", "status", "due_at", "Amount"])
def test_an_unknown_field_is_refused(name: str) -> None:
    """A misspelt field must not be overlooked where money is at stake."""
    assert code_of(**{name: "x"}) == ("unknown_field", name)


@pytest.mark.parametrize("value", NO_TEXT, ids=repr)
@pytest.mark.parametrize("field", TEXTS)
def test_only_text_is_text(field: str, value: object) -> None:
    """No number is taken for a decimal string, and no bytes for text."""
    assert code_of(**{field: value}) == (f"invalid_{field}", field)


@pytest.mark.parametrize("field", ["remark", "epay_account"])
@pytest.mark.parametrize("value", [1, 1.5, True, ["x"], {"x": "y"}, ""], ids=repr)
def test_an_optional_text_is_text_or_left_out(field: str, value: object) -> None:
    """Null is left out; an empty text is not."""
    assert code_of(**{field: value}) == (f"invalid_{field}", field)
    assert getattr(parse_request({**GOOD, field: None}), field) is None


@pytest.mark.parametrize(
    "value",
    ["0.01", "0.1", "1", "10", "10.5", "10.50", "999999", "9" * 16 + ".99"],
)
def test_amounts_that_are_stored_exactly(value: str) -> None:
    """Up to sixteen digits and two decimal places."""
    assert parse_request({**GOOD, "amount": value}).amount == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "0",
        "0.00",
        "-1",
        "-0.01",
        "+1",
        "1e3",
        "1E-2",
        "NaN",
        "nan",
        "Infinity",
        "-inf",
        "1,000",
        "1_000",
        "1 000",
        "0x10",
        "10.",
        ".5",
        "10.5.0",
        "007",
        "00.50",
        "12.345",
        "3.000",
        "10.500000",
        "0.001",
        "0." + "0" * 30 + "1",
        " 10",
        "10 ",
        "10\n",
        "10\x00",
        "\u0661\u0660",
        "\uff11\uff10",
        "1" + "0" * 16,
        "9" * 17 + ".99",
        "9" * 27,
        "1" * 40,
        "9" * 30 + ".99",
        "9" * 41,
    ],
)
def test_amounts_that_are_refused(value: str) -> None:
    """Whatever would be rounded, overflow or be read in two ways."""
    assert code_of(amount=value) == ("invalid_amount", "amount")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.decimals(min_value="0.01", max_value="9999999999999999.99", places=2))
def test_every_amount_that_fits_is_taken_as_it_is(value: Any) -> None:
    """No digit is lost on the way in."""
    assert parse_request({**GOOD, "amount": f"{value:.2f}"}).amount == f"{value:.2f}"


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.one_of(st.text(max_size=26), st.from_regex(r"[0-9.]{1,45}", fullmatch=True)))
def test_any_text_is_an_amount_or_is_refused(value: str) -> None:
    """Nothing else comes out of the check."""
    taken: str | None = None
    code: str | None = None
    try:
        taken = parse_request({**GOOD, "amount": value}).amount
    except InvalidRequest as error:
        code = error.error["code"]
    assert (taken, code) in {(value, None), (None, "invalid_amount")}


@pytest.mark.parametrize("value", ["A", "a-1_2.3", "0702001122", "007", "1e5", "9" * 64])
def test_order_numbers_that_are_taken(value: str) -> None:
    """Letters, digits, point, dash and underscore, leading zeros kept."""
    assert parse_request({**GOOD, "merchant_order_no": value}).merchant_order_no == value


@pytest.mark.parametrize(
    "value",
    ["", " ", "A 1", " A", "A ", "A/1", "A\\1", "A\n", "A\r\n", "\nA", "A\x00", "Ä", "A,1", "A=1",
     "A&1", "A{1}", "A%", "A;1", "9" * 65],
)  # fmt: skip
def test_order_numbers_that_are_refused(value: str) -> None:
    """What could be changed on the way to EPAY, or be read as two."""
    assert code_of(merchant_order_no=value) == ("invalid_merchant_order_no", "merchant_order_no")


@pytest.mark.parametrize("value", ["usd", "Usd", "US", "U", "", "USD ", "USD\n", "US1", "A" * 9])
def test_currencies_that_are_refused(value: str) -> None:
    """Capital letters, three to eight."""
    assert code_of(currency=value) == ("invalid_currency", "currency")


@pytest.mark.parametrize("value", ["", "1 1", "11\n", "11;", "ü", "1" * 33])
def test_channels_that_are_refused(value: str) -> None:
    """A short name; which ones there are is EPAY's."""
    assert code_of(channel_code=value) == ("invalid_channel_code", "channel_code")


@pytest.mark.parametrize("char", CONTROL, ids=ascii)
@pytest.mark.parametrize("field", ["account_no", "remark"])
def test_text_that_cannot_be_printed_is_refused(field: str, char: str) -> None:
    """Anywhere in it: line breaks, direction marks, half a pair."""
    for value in (f"a{char}b", f"{char}b", f"a{char}"):
        assert code_of(**{field: value}) == (f"invalid_{field}", field)


@pytest.mark.parametrize("field", ["account_no", "remark"])
def test_white_space_around_text_is_refused(field: str) -> None:
    """It would be another account to EPAY, or to nobody."""
    for value in (" a", "a ", " "):
        assert code_of(**{field: value}) == (f"invalid_{field}", field)


@pytest.mark.parametrize(("field", "longest"), [("account_no", 128), ("remark", 255)])
def test_bounds_of_text(field: str, longest: int) -> None:
    """The longest is taken, one more is refused."""
    assert getattr(parse_request({**GOOD, field: "x" * longest}), field) == "x" * longest
    assert code_of(**{field: "x" * (longest + 1)}) == (f"invalid_{field}", field)
    assert code_of(**{field: ""}) == (f"invalid_{field}", field)


@pytest.mark.parametrize("value", ["a b", "a\n", "ä@x", "x" * 129])
def test_accounts_of_epay_that_are_refused(value: str) -> None:
    """Printable ASCII without spaces."""
    assert code_of(epay_account=value) == ("invalid_epay_account", "epay_account")


@pytest.mark.parametrize(
    "value",
    [
        "x",
        [],
        [["a", "b"]],
        {"a": 1},
        {"a": None},
        {"a": {"b": "c"}},
        {"a": ["b"]},
        {"a": "x" * 256},
        {"a": "b\n"},
        {"a b": "c"},
        {"": "c"},
        {"k" * 65: "c"},
        {1: "c"},
        {f"k{nth}": "x" * 200 for nth in range(11)},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_extend_fields_that_are_refused(value: object) -> None:
    """A flat object of short texts, two kilobytes in all."""
    error = refused(extend_fields=value).error
    assert error["code"] == "invalid_extend_fields"
    assert error["field"].startswith("extend_fields")


def test_the_size_of_extend_fields_is_that_of_the_json() -> None:
    """Counted in bytes."""
    fits = {f"k{nth}": "x" * 200 for nth in range(9)}
    assert parse_request({**GOOD, "extend_fields": fits}).extend_fields == fits
    wide = {f"k{nth}": "ü" * 200 for nth in range(9)}
    assert code_of(extend_fields=wide) == ("invalid_extend_fields", "extend_fields")


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ("shop.told", "invalid_notify", "notify"),
        ([], "invalid_notify", "notify"),
        ({}, "missing_field", "notify.task"),
        ({"task": "t"}, "missing_field", "notify.queue"),
        ({"queue": "q"}, "missing_field", "notify.task"),
        ({**NOTIFY, "url": "x"}, "unknown_field", "notify.url"),
        ({**NOTIFY, "task": 1}, "invalid_notify", "notify.task"),
        ({**NOTIFY, "task": ""}, "invalid_notify", "notify.task"),
        ({**NOTIFY, "task": "a b"}, "invalid_notify", "notify.task"),
        ({**NOTIFY, "task": "t\n"}, "invalid_notify", "notify.task"),
        ({**NOTIFY, "task": "t" * 201}, "invalid_notify", "notify.task"),
        ({**NOTIFY, "queue": None}, "invalid_notify", "notify.queue"),
        ({**NOTIFY, "queue": "a,b"}, "invalid_notify", "notify.queue"),
        ({**NOTIFY, "on": None}, "invalid_notify", "notify.on"),
        ({**NOTIFY, "on": []}, "invalid_notify", "notify.on"),
        ({**NOTIFY, "on": "final"}, "invalid_notify", "notify.on"),
        ({**NOTIFY, "on": {"final": 1}}, "invalid_notify", "notify.on"),
        ({**NOTIFY, "on": ["done"]}, "invalid_notify", "notify.on.0"),
        ({**NOTIFY, "on": ["final", 1]}, "invalid_notify", "notify.on.1"),
        ({**NOTIFY, "on": ["final", "final"]}, "invalid_notify", "notify.on"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_shapes_of_notify_that_are_refused(value: object, code: str, field: str) -> None:
    """Each with its own code and field; and there is nobody to answer."""
    assert code_of(notify=value) == (code, field)
    assert parse_notify({"notify": value}) is None


@pytest.mark.parametrize(
    ("on", "taken"),
    [
        (["final"], ("final",)),
        (["accepted"], ("accepted",)),
        (["final", "accepted"], ("final", "accepted")),
    ],
)
def test_moments_of_notify(on: list[str], taken: tuple[str, ...]) -> None:
    """A list as JSON has it."""
    asked = parse_request({**GOOD, "notify": {**NOTIFY, "on": on}})
    assert asked.notify is not None
    assert asked.notify.on == taken


def test_the_end_is_told_by_default() -> None:
    """And the address is found even where the rest is wrong."""
    assert parse_notify({"notify": NOTIFY, "amount": 1.5}) == Notify(
        task="shop.told", queue="shop", on=("final",)
    )
    assert parse_notify({}) is None
    assert parse_notify({"notify": None}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": SECRET},
        {"amount": f"{SECRET}.123"},
        {"amount": int(SECRET)},
        {"merchant_order_no": f"{SECRET} "},
        {"currency": SECRET},
        {"channel_code": f"{SECRET}\n"},
        {"account_no": f"{SECRET}\n"},
        {"account_no": int(SECRET)},
        {"account_no": SECRET * 10},
        {"account_no": [SECRET]},
        {"remark": f" {SECRET}"},
        {"remark": SECRET * 20},
        {"epay_account": f"{SECRET} {SECRET}"},
        {"extend_fields": {"a": f"{SECRET}\n"}},
        {"extend_fields": {"a": int(SECRET)}},
        {"extend_fields": SECRET},
        {"notify": SECRET},
        {"notify": {**NOTIFY, "on": [SECRET]}},
        {"notify": {**NOTIFY, "task": f"{SECRET} x"}},
        {"surprise": SECRET},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_no_value_is_repeated_in_a_refusal(changes: dict[str, Any]) -> None:
    """An account number in the wrong field does not get into a log or a message."""
    error = refused(**changes)
    for text in (str(error), repr(error), str(error.error)):
        assert SECRET not in text
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    "changes",
    [{"a\nforged line": 1}, {"a\x1b[2J": 1}, {"extend_fields": {"a\nb": "c"}}],
    ids=ascii,
)
def test_a_refusal_can_be_printed(changes: dict[str, Any]) -> None:
    """A name that a caller chose does not begin a new line of the log."""
    assert str(refused(**changes)).isprintable()


def test_a_long_name_of_a_field_is_cut() -> None:
    """A refusal is short, whatever came."""
    error = refused(**{"x" * BIG: 1})
    assert len(str(error)) < 200
    assert len(str(refused(extend_fields={"k" * 500: "v", "notify": "x"}))) < 200


@pytest.mark.parametrize(
    "changes",
    [
        {"remark": "x" * BIG},
        {"account_no": "x" * BIG},
        {"amount": "1" * BIG},
        {"amount": "0." + "1" * BIG},
        {"merchant_order_no": "1" * BIG},
        {"currency": "A" * BIG},
        {"channel_code": "1" * BIG},
        {"epay_account": "x" * BIG},
        {"extend_fields": {"a": "x" * BIG}},
        {"extend_fields": {"k" * BIG: "x"}},
        {"extend_fields": {f"key{nth}": "x" * 200 for nth in range(BIG // 210)}},
        {"notify": {**NOTIFY, "task": "t" * BIG}},
        {"notify": {**NOTIFY, "on": ["final"] * (BIG // 10)}},
        {"notify": "x" * BIG},
    ],
    ids=lambda value: next(iter(value)),
)
def test_ten_megabytes_are_refused_at_once(changes: dict[str, Any]) -> None:
    """A field that is far too long costs nothing."""
    began = time.process_time()
    error = refused(**changes)
    assert time.process_time() - began < 1
    assert len(str(error)) < 300


def test_a_request_does_not_show_the_account() -> None:
    """Printing it is safe."""
    assert SECRET not in repr(parse_request(GOOD))
    assert SECRET not in str(parse_request(GOOD))


def test_a_request_cannot_be_changed() -> None:
    """What was checked stays what it was."""
    asked = parse_request(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        asked.amount = "99"  # type: ignore[misc]


def test_the_names_other_programs_rely_on() -> None:
    """Tasks, queues and fields of the design do not change."""
    assert contract.QUEUE_OF == {
        "payouts.request": "payouts",
        "payouts.submit": "payouts.submit",
        "payouts.query": "payouts.reconcile",
        "payouts.callback": "payouts.reconcile",
        "payouts.sweep": "payouts.reconcile",
        "payouts.notify": "payouts.notify",
        "payouts.books": "payouts.reconcile",
    }
    assert list(PayoutRequest.model_fields) == [
        *TEXTS, "remark", "extend_fields", "epay_account", "notify",
    ]  # fmt: skip
    assert list(Notify.model_fields) == ["task", "queue", "on"]
    assert set(contract.RequestResult.__annotations__) == {
        "merchant_order_no", "status", "duplicate", "error",
    }  # fmt: skip
