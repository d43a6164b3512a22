"""The errors of a request, for the person who wrote it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ops.wording.request_errors import describe_errors
from shared.contract import PayoutRequest
from tests.support.factories import request_kwargs

SECRET = "4111 8101 1111 \x1b[31m"


def describe(**changes: Any) -> dict[str, str]:
    """The texts by field."""
    with pytest.raises(ValidationError) as caught:
        PayoutRequest.model_validate(request_kwargs(**changes), strict=True)
    return dict(describe_errors(caught.value))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"merchant_order_no": SECRET}, "is not an order number"),
        ({"merchant_order_no": ""}, "is not an order number"),
        ({"merchant_order_no": None}, "is empty"),
        ({"merchant_order_no": "1" * 65}, "is not an order number: up to 64"),
        ({"amount": SECRET}, "is not a plain decimal number like 10.50"),
        ({"currency": SECRET}, "is not a currency in capitals like USD"),
        ({"channel_code": SECRET}, "is not a channel code like 11"),
        ({"account_no": ""}, "is empty"),
        ({"account_no": "1" * 129}, "has more than 128 characters"),
        ({"extend_fields": SECRET}, "is not a JSON object"),
        ({"extend_fields": {SECRET: "x"}}, "has a name that is not made of letters"),
        ({"extend_fields": {"a": 7}}, "has a value that is not text"),
        ({"epay_account": SECRET}, "is not an EPAY account"),
    ],
)
def test_error_names_the_field_and_no_value(changes: dict[str, Any], text: str) -> None:
    [field] = changes
    found = describe(**changes)
    assert set(found) == {field}
    assert found[field].startswith(text)
    assert "4111" not in found[field]


def test_errors_of_the_address_for_the_answer_name_its_column() -> None:
    found = describe(notify={"task": SECRET, "queue": SECRET})
    assert found == {
        "notify_task": "is not the name of a task",
        "notify_queue": "is not the name of a queue",
    }


def test_missing_field_is_empty() -> None:
    with pytest.raises(ValidationError) as caught:
        PayoutRequest.model_validate({})
    assert set(dict(describe_errors(caught.value)).values()) == {"is empty"}
