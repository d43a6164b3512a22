"""The JSON schemas of the messages between requesting apps and the service, from the contract.

Pydantic derives a schema from types and patterns. Checks of code that a schema can express are
added here as patterns; the others are in `shared.contract` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from shared.contract import (
    AMOUNT_DIGITS,
    AMOUNT_SCALE,
    STATUS_CONFLICT,
    STATUS_INVALID,
    PayoutOutcome,
    PayoutRequest,
)
from shared.domain.payout import Status

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WHOLE = AMOUNT_DIGITS - AMOUNT_SCALE
_AMOUNT = rf"^(?![0.]+$)(0|[1-9][0-9]{{0,{_WHOLE - 1}}})(\.[0-9]{{1,{AMOUNT_SCALE}}})?$"
"""Above zero, and stored exactly."""
_ACCOUNT = r"^(?![=#'])[!#-+\-.0-:<-{}~]+$"
"""ASCII without blanks, quotation marks and , ; / |, and without the marks of a spreadsheet."""
_NO_EDGES = r"^\S(.*\S)?$"


def request_schema() -> dict[str, Any]:
    """The kwargs of `payouts.request`.

    The service alone checks for characters that cannot be printed, the size of `extend_fields`,
    and order and account numbers that a spreadsheet has ruined (`shared.identifiers`).
    """
    made = PayoutRequest.model_json_schema()
    fields = made["properties"]
    fields["amount"]["pattern"] = _AMOUNT
    fields["account_no"]["pattern"] = _ACCOUNT
    fields["remark"]["anyOf"][0]["pattern"] = _NO_EDGES
    extend = fields["extend_fields"]["anyOf"][0]
    extend["additionalProperties"] = False
    made["$defs"]["Notify"]["properties"]["on"]["uniqueItems"] = True
    return _finished(made)


def outcome_schema() -> dict[str, Any]:
    """The kwargs of the message to `notify.task`; later versions may add some."""
    made = TypeAdapter(PayoutOutcome).json_schema()
    statuses = [status.value for status in Status]
    made["properties"]["status"]["enum"] = [*statuses, STATUS_INVALID, STATUS_CONFLICT]
    made["properties"]["previous_status"]["anyOf"][0]["enum"] = statuses
    return _finished(made)


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = MappingProxyType(
    {"request": request_schema, "outcome": outcome_schema}
)
"""By their names for `payouts schema` and in docs/schema."""


def _finished(made: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **_without_titles(made)}


def _without_titles(value: Any) -> Any:
    """Leave out the titles of fields: they repeat the names."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_field = "title" in value and value.get("type") != "object"
    return {
        name: _without_titles(held)
        for name, held in value.items()
        if not (is_field and name == "title" and isinstance(held, str))
    }
