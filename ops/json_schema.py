"""The JSON schema of what goes to and fro between asking apps and the service, from the contract.

Pydantic writes down what types and patterns say; what only code checks is added here as patterns
where a schema can say it. What a schema cannot say at all is `shared.contract`'s alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, create_model

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
_AMOUNT = rf"^(?![0.]+$)(0|[1-9][0-9]{{0,{_WHOLE - 1}}})(\.[0-9]{{1,{AMOUNT_SCALE}}}0*)?$"
"""Above zero, and stored exactly."""
_NO_EDGES = r"^\S(.*\S)?$"


def request_schema() -> dict[str, Any]:
    """The kwargs of `payouts.request`. What it refuses is refused; of the rest, nearly all passes.

    Left to the service: characters that cannot be printed, and the size of `extend_fields`.
    """
    made = PayoutRequest.model_json_schema()
    fields = made["properties"]
    fields["amount"]["pattern"] = _AMOUNT
    fields["account_no"]["pattern"] = _NO_EDGES
    fields["remark"]["anyOf"][0]["pattern"] = _NO_EDGES
    extend = fields["extend_fields"]["anyOf"][0]
    extend["additionalProperties"] = False
    made["$defs"]["Notify"]["properties"]["on"]["uniqueItems"] = True
    return _finished(made)


def outcome_schema() -> dict[str, Any]:
    """The kwargs of the message to `notify.task`. More kwargs may come one day."""
    made = _model_of(PayoutOutcome).model_json_schema()
    statuses = [status.value for status in Status]
    made["properties"]["status"]["enum"] = [*statuses, STATUS_INVALID, STATUS_CONFLICT]
    made["properties"]["previous_status"]["anyOf"][0]["enum"] = statuses
    del made["properties"]["error"]["default"]
    return _finished(made)


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = MappingProxyType(
    {"request": request_schema, "outcome": outcome_schema}
)
"""By the names that `payouts schema` and the files in docs/schema have."""


def _finished(made: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **_without_titles(made)}


def _without_titles(value: Any) -> Any:
    """Leave out the titles of single fields: they only repeat the names."""
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


def _model_of(shape: type) -> type[BaseModel]:
    """A TypedDict as a model: pydantic reads those of `typing` only from Python 3.12 on."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        bare = get_args(hint)[0] if optional else hint
        kind = _model_of(bare) if is_typeddict(bare) else bare
        fields[name] = (kind, None) if optional else (kind, ...)
    return create_model(shape.__name__, __doc__=shape.__doc__, **fields)
