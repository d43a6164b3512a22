"""Pure reading of EPAY's answers: bytes in, typed values out (epay-gateway sections 2 and 3).

Nothing in here raises but `read_json`. What is not wanted is never kept: pinCode, account numbers,
raw bodies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Never

from shared.domain.gateway import Balance, Limit, OutcomeUnknown, Refused, Report
from shared.epay.signing import NestedForm, verify

MAX_TEXT = 200
"""Longest text that is taken over, in characters."""

_SUCCESS = "1"
_CODE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")
_MAX_PLACES = 30
"""Digits of a number before the point at most, and as many behind it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A positive answer whose signature, if it bears one, is right."""

    epay_account: str | None
    data: dict[str, Any] | list[Any]


def read_answer(
    body: bytes, api_keys: Iterable[str], nested: NestedForm, *, demand_signature: bool
) -> Answer | Refused | OutcomeUnknown:
    """Read and check the envelope (section 2). The signature covers `data` alone (section 4.4).

    `demand_signature` holds for positive answers; of a refusal not even `data` is documented.
    """
    try:
        envelope = read_json(body)
    except ValueError:
        return OutcomeUnknown("answer is not JSON")
    if not isinstance(envelope, dict):
        return OutcomeUnknown("answer is not an object")
    code = _code(envelope.get("code"))
    if code is None:
        return OutcomeUnknown("answer has no code")
    fault = _signature_fault(envelope, api_keys, nested)
    if fault is not None:
        return OutcomeUnknown(fault)
    if code != _SUCCESS:
        return Refused(code=code, message=_message(envelope.get("message")))
    return _positive(envelope, demand_signature=demand_signature)


def _signature_fault(
    envelope: dict[str, Any], api_keys: Iterable[str], nested: NestedForm
) -> str | None:
    """The fault of a signature, if both it and the data are present; None: no fault."""
    data, signature = envelope.get("data"), envelope.get("sign")
    if not data or _is_absent(signature):
        return None
    if not isinstance(data, (dict, list)):
        return "answer has data of a wrong type"
    return None if verify(data, signature, api_keys, nested) else "answer bears a wrong signature"


def _positive(envelope: dict[str, Any], *, demand_signature: bool) -> Answer | OutcomeUnknown:
    data = envelope.get("data")
    if not isinstance(data, (dict, list)):
        return OutcomeUnknown("answer has no data")
    if demand_signature and _is_absent(envelope.get("sign")):
        return OutcomeUnknown("answer bears no signature")
    return Answer(epay_account=text(envelope.get("epayAccount")), data=data)


def _is_absent(value: object) -> bool:
    return value is None or value == ""


def read_created(answer: Answer) -> Report | OutcomeUnknown:
    """Read the order in createEwalletTransaction's answer (section 3.1)."""
    return _read_order(answer, "create", ("settlementCurrency", "currency"), ("payerFee", "fee"))


def read_queried(answer: Answer) -> Report | OutcomeUnknown:
    """Read the order in queryTransaction's answer (section 3.2)."""
    return _read_order(answer, "query", ("currency", "settlementCurrency"), ("fee",))


def _read_order(
    answer: Answer, source: str, currencies: tuple[str, ...], fees: tuple[str, ...]
) -> Report | OutcomeUnknown:
    if not isinstance(answer.data, dict) or not answer.data:
        return OutcomeUnknown("answer has no data")
    return read_report(answer.data, source, answer.epay_account, currencies, fees)


def read_report(
    fields: Mapping[str, Any],
    source: str,
    epay_account: str | None,
    currencies: tuple[str, ...],
    fees: tuple[str, ...],
) -> Report:
    """Read an order's fields; the first name present gives the currency, and the fee."""
    return Report(
        source=source,
        epay_account=epay_account,
        merchant_order_no=text(fields.get("merchantOrderNo")),
        epay_order_no=text(fields.get("epayOrderNo")),
        status=text(fields.get("status")),
        amount=decimal(fields.get("amount")),
        currency=text(_first(fields, currencies)),
        fee=decimal(_first(fields, fees)),
    )


def read_limit(answer: Answer) -> Limit | OutcomeUnknown:
    """Read getLimit's answer (section 3.3)."""
    if not isinstance(answer.data, dict):
        return OutcomeUnknown("answer has data of a wrong type")
    least, most = decimal(answer.data.get("singleMin")), decimal(answer.data.get("singleMax"))
    if least is None or most is None:
        return OutcomeUnknown("answer holds no limit")
    return Limit(single_min=least, single_max=most)


def read_balances(answer: Answer) -> list[Balance] | OutcomeUnknown:
    """Read getBalance's answer, an array (section 3.4)."""
    if not isinstance(answer.data, list):
        return OutcomeUnknown("answer has data of a wrong type")
    balances: list[Balance] = []
    for entry in answer.data:
        fields = entry if isinstance(entry, dict) else {}
        currency, amount = text(fields.get("currency")), decimal(fields.get("balance"))
        if currency is None or amount is None:
            return OutcomeUnknown("answer holds a balance that cannot be read")
        balances.append(Balance(currency=currency, balance=amount))
    return balances


def text(value: object) -> str | None:
    """Return a short printable text, or None for anything else; an integer gives its digits.

    What a database or a log could choke on is no text: cutting it would make another order number
    of it.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
        return value
    return None


def decimal(value: object) -> Decimal | None:
    """Return a decimal number, exactly and without an exponent, or None: no NaN, ASCII digits.

    Java prints 100 as `1E+2`. The exponent is bounded: `1E+1000000` written out fills the memory.
    """
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        return None
    number = Decimal(value)
    exponent = int(number.as_tuple().exponent)
    if number.adjusted() >= _MAX_PLACES or exponent < -_MAX_PLACES:
        return None
    return Decimal(f"{number:f}")


def read_json(body: bytes | str) -> Any:
    """Parse JSON, keeping the digits of fractions. Raises ValueError for all else, however deep."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except ArithmeticError as error:
        raise ValueError("number out of range") from error


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> object:
    for name in names:
        value = fields.get(name)
        if not _is_absent(value):
            return value
    return None


def _code(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**18 else None
    if isinstance(value, str) and _CODE.fullmatch(value):
        return value
    return None


def _message(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "?" for char in value[:MAX_TEXT])
