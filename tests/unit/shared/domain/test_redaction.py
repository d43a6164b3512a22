"""Account numbers in texts that EPAY or a person wrote."""

from __future__ import annotations

import pytest

from shared.domain.gateway import Refused
from shared.domain.redaction import redact, redact_refusal

ACCOUNT_NO = "U12345678"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        ("no such account", "no such account"),
        ("U12345678", "***"),
        ("account u12345678, U12345678.", "account ***, ***."),
        ("xU123456789", "x***9"),
        ("U1234 5678", "U1234 5678"),
    ],
)
def test_whole_number_is_redacted_in_any_case(text: str, redacted: str) -> None:
    assert redact(text, ACCOUNT_NO) == redacted
    assert redact_refusal(Refused("7", text), ACCOUNT_NO) == Refused("7", redacted)


@pytest.mark.parametrize("account_no", ["a+b@c.d", "(1.2)", r"\d{4}", "....", "Überweg"])
def test_number_is_no_pattern(account_no: str) -> None:
    assert redact(f"1234 {account_no}!", account_no) == "1234 ***!"


@pytest.mark.parametrize("account_no", ["", "1", "11", "U12"])
def test_short_number_stays(account_no: str) -> None:
    """It would match parts of ordinary words."""
    refused = Refused("7", "channel 11: U12 is wrong")
    assert redact(refused.message, account_no) == refused.message
    assert redact_refusal(refused, account_no) == refused


@pytest.mark.parametrize("length", [4, 5, 8])
def test_part_at_the_end_of_a_cut_message_is_redacted(length: int) -> None:
    message = f"bad account {ACCOUNT_NO[:length].lower()}"
    assert redact_refusal(Refused("7", message), ACCOUNT_NO) == Refused("7", "bad account ***")


def test_part_within_a_message_stays() -> None:
    refused = Refused("7", "U1234567 is wrong, and so is U12")
    assert redact_refusal(refused, ACCOUNT_NO) == refused
