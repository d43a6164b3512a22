"""EPAY's asynchronous notification: reading and verifying it (epay-gateway section 5). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from shared.domain.gateway import Report
from shared.epay import signing
from shared.epay.responses import read_json, read_report, text
from shared.epay.signing import NestedForm

DEFAULT_EXCLUDED: frozenset[str] = frozenset({"isForward", "payUrl"})
"""Fields that the signature does not cover, as a public module has it; nothing here reads them."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
# nothing is escaped in the string to sign, so one signed text could be cut into other fields that
# say another status
_SMUGGLED = re.compile(
    "&(?:epayAccount|merchantOrderNo|epayOrderNo|status|amount"
    "|settlementCurrency|paymentCurrency|fee)="
)


def parse(fields: Mapping[str, str]) -> Report:
    """Read what the callback says. Prove it with `verify` before believing it."""
    return read_report(
        fields,
        "callback",
        text(fields.get("epayAccount")),
        ("settlementCurrency", "paymentCurrency"),
        ("fee",),
    )


def verify(
    fields: Mapping[str, str],
    api_keys: Iterable[str],
    nested: NestedForm,
    excluded: Collection[str] = DEFAULT_EXCLUDED,
    parse_message: bool = True,
) -> bool:
    """Tell whether `sign` is right by one of the keys. Never raises.

    By section 5, as a public module does it: without `sign` and the excluded fields; empty values
    dropped; `message`, when it is a JSON object or array, written as a nested value; everything
    else as the received text. A field that holds a piece of another field's text ("&status=") makes
    it false: such a callback could be read in two ways.
    """
    signed = _signed_fields(fields, excluded, parse_message=parse_message)
    if any(not _NAME.fullmatch(name) for name in signed):
        return False
    if any(_SMUGGLED.search(value) for value in signed.values() if isinstance(value, str)):
        return False
    return signing.verify(signed, fields.get("sign"), api_keys, nested)


def sign_callback(fields: Mapping[str, str], api_key: str, nested: NestedForm) -> str:
    """Make the `sign` of a callback, as `verify` wants it. For a stand-in gateway."""
    return signing.sign(
        _signed_fields(fields, DEFAULT_EXCLUDED, parse_message=True), api_key, nested
    )


def _signed_fields(
    fields: Mapping[str, str], excluded: Collection[str], *, parse_message: bool
) -> dict[str, Any]:
    signed: dict[str, Any] = {
        name: value for name, value in fields.items() if name != "sign" and name not in excluded
    }
    if parse_message and signed.get("message"):
        signed["message"] = _message(signed["message"])
    return signed


def _message(received: str) -> Any:
    try:
        parsed = read_json(received)
    except ValueError:
        return received
    return parsed if isinstance(parsed, (dict, list)) else received
