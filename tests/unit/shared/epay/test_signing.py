"""The signature against the worked examples of epay-gateway section 4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.epay.signing import MAX_DEPTH, NestedForm, sign, string_to_sign, verify

KEY = "TESTKEY123"
QUERY = {
    "epayAccount": "test2020@epay.com",
    "version": "V2.0.0",
    "merchantOrderNo": "20210708220",
}
CREATE: dict[str, Any] = {
    "version": "V2.0.0",
    "amount": "0.01",
    "category": "EWALLET",
    "channelCode": "11",
    "currency": "USD",
    "epayAccount": "test2020@epay.com",
    "merchantOrderNo": "0702001122",
    "notifyUrl": "http://localhost/paymentApi/channel/send.do",
    "receiverInfo": {"remark": "remark", "accountNo": "41111810111111111111"},
}
DIGESTS = {
    NestedForm.COMMA: "B34C3424A41DB2CCD3C700FA0A8F201821A26DE6487A9F7367FB1BF6CD28FC15",
    NestedForm.AMPERSAND: "54809D934EE7117F4839183C5039A27440AC509A13DB998BD3621F0F0DCF56F3",
    NestedForm.JSON: "43DFB626DA75CCC1E68DD6B7C623A71C042573183D52477291C114136E65BFFD",
    NestedForm.JAVA: "4F2A1B03C77D68ED6A78DCA05F4E09BF080C9680F115C49C157DA9174DB72DDB",
}


@pytest.mark.parametrize("nested", NestedForm)
def test_flat_request_has_the_digest_of_section_4_2_in_every_form(nested: NestedForm) -> None:
    """Without nesting the form changes nothing."""
    expected = "E9FDAD4F3D2857FF0B8A2BCC9831D5DE72D676368A9BA1E421AE252134E6F895"
    assert sign(QUERY, KEY, nested) == expected


@pytest.mark.parametrize(("nested", "digest"), DIGESTS.items())
def test_nested_request_has_the_digest_of_section_4_3(nested: NestedForm, digest: str) -> None:
    """Each form of the table gives its own digest."""
    assert sign(CREATE, KEY, nested) == digest
    assert verify(CREATE, digest, [KEY], nested)


def test_string_to_sign_is_the_documented_text() -> None:
    """The text of section 4.2, without the key."""
    assert string_to_sign(CREATE, NestedForm.COMMA) == (
        "amount=0.01&category=EWALLET&channelCode=11&currency=USD&epayAccount=test2020@epay.com"
        "&merchantOrderNo=0702001122&notifyUrl=http://localhost/paymentApi/channel/send.do"
        "&receiverInfo={accountNo=41111810111111111111,remark=remark}&version=V2.0.0"
    )


@pytest.mark.parametrize("nested", NestedForm)
def test_empty_values_are_dropped_at_every_level(nested: NestedForm) -> None:
    """Null, empty text, and whatever is empty once these are gone."""
    hollow = {"a": {"b": {"c": "", "d": None}, "e": [], "f": ["", None, {}]}, "g": "", "h": None}
    assert string_to_sign({**hollow, "z": "1"}, nested) == "z=1"
    assert string_to_sign(hollow, nested) == ""


def test_zero_and_blanks_are_kept() -> None:
    """Only the empty string is empty."""
    assert string_to_sign({"a": 0, "b": " ", "c": "0"}, NestedForm.COMMA) == "a=0&b= &c=0"


def test_sorting_is_by_ascii_and_case_sensitive_at_every_level() -> None:
    """Upper case before lower case."""
    param = {"b": "1", "B": {"z": "1", "Z": "2"}, "a": "3"}
    assert string_to_sign(param, NestedForm.COMMA) == "B={Z=2,z=1}&a=3&b=1"


@pytest.mark.parametrize(
    ("nested", "text"),
    [
        (NestedForm.COMMA, "a={0=x,1={k=v}}"),
        (NestedForm.AMPERSAND, "a={0=x&1={k=v}}"),
        (NestedForm.JAVA, "a={0=x, 1={k=v}}"),
        (NestedForm.JSON, 'a=["x",{"k":"v"}]'),
    ],
)
def test_array_has_its_indexes_as_keys_outside_json(nested: NestedForm, text: str) -> None:
    """The rule of the public module; JSON keeps its own arrays."""
    assert string_to_sign({"a": ["x", {"k": "v"}]}, nested) == text


def test_long_array_keeps_its_order() -> None:
    """Index 10 comes after 9, not after 1."""
    text = string_to_sign([str(n) for n in range(12)], NestedForm.COMMA)
    assert text.endswith("9=9&10=10&11=11")


@pytest.mark.parametrize("nested", NestedForm)
def test_numbers_are_printed_as_they_are_and_booleans_as_json(nested: NestedForm) -> None:
    """The digits of a fraction are not touched."""
    param = {"a": Decimal("10.00"), "b": 7, "c": True, "d": False, "e": 1.5}
    assert string_to_sign(param, nested) == "a=10.00&b=7&c=true&d=false&e=1.5"


def test_json_form_prints_scalars_and_text_raw() -> None:
    """No escapes for text beyond ASCII, digits as they came."""
    param = {"a": {"n": Decimal("1.50"), "t": "ä/", "b": True}}
    assert string_to_sign(param, NestedForm.JSON) == 'a={"b":true,"n":1.50,"t":"ä/"}'


@pytest.mark.parametrize("nested", NestedForm)
def test_too_deep_nesting_is_an_error_to_sign_and_false_to_verify(nested: NestedForm) -> None:
    """Hostile depth costs no stack."""
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 2):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="too deep"):
        sign(deep, KEY, nested)
    assert not verify(deep, "0" * 64, [KEY], nested)


def test_what_json_does_not_know_is_an_error_to_sign_and_false_to_verify() -> None:
    """An object has no text."""
    with pytest.raises(TypeError):
        sign({"a": object()}, KEY, NestedForm.COMMA)
    assert not verify({"a": object()}, "0" * 64, [KEY], NestedForm.COMMA)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        7,
        [],
        "",
        "x",
        "ä" * 64,
        "�",
        DIGESTS[NestedForm.COMMA].lower(),
        "0" * 64,
        DIGESTS[NestedForm.COMMA] + "0",
        " " + DIGESTS[NestedForm.COMMA],
    ],
)
def test_any_other_signature_is_false(signature: object) -> None:
    """Garbage, another type, lower case, blanks around it."""
    assert not verify(CREATE, signature, [KEY], NestedForm.COMMA)


def test_unpaired_surrogate_in_a_value_is_false_and_no_error() -> None:
    """UTF-8 cannot hold it, so nothing can have signed it."""
    assert not verify({"a": "\ud800"}, "0" * 64, [KEY], NestedForm.COMMA)


def test_every_key_is_accepted_but_an_empty_one_never() -> None:
    """A key left empty must not let everybody sign."""
    digest = DIGESTS[NestedForm.COMMA]
    assert verify(CREATE, digest, ["other", KEY], NestedForm.COMMA)
    assert verify(CREATE, digest, [KEY, "other"], NestedForm.COMMA)
    assert not verify(CREATE, digest, ["other"], NestedForm.COMMA)
    assert not verify(CREATE, sign(CREATE, "", NestedForm.COMMA), ["", KEY], NestedForm.COMMA)
    assert not verify(CREATE, digest, [], NestedForm.COMMA)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1), st.text() | st.dictionaries(st.text(), st.text()), max_size=4
    ),
    st.sampled_from(NestedForm),
)
def test_what_is_signed_verifies_and_with_another_key_does_not(
    param: dict[str, Any], nested: NestedForm
) -> None:
    """Signing and verifying are one rule."""
    try:
        signature = sign(param, KEY, nested)
    except UnicodeEncodeError:
        return
    assert verify(param, signature, [KEY], nested)
    assert not verify(param, signature, [KEY + "x"], nested)
