"""How the settings that are lists are written: comma lists of codes, seconds, networks, amounts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import NoDecode

from shared.domain.accounts import gateway_of

_TEN_YEARS = 315_360_000
_LARGEST = Decimal(10) ** 16
"""No payout has so large an amount."""
_CURRENCY_LENGTHS = range(3, 9)


def _parts(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _parts_or_none(value: object) -> object:
    return tuple(part for part in _as_tuple(value) if part != "none")


def _as_tuple(value: object) -> tuple[object, ...]:
    parts = _parts(value)
    return tuple(parts) if isinstance(parts, tuple | list | set | frozenset) else (parts,)


def _codes_in_one_word(value: frozenset[str]) -> frozenset[str]:
    for code in value:
        if not code or not code.isprintable() or set(code) & set(" \"'`"):
            raise ValueError("has a code with a blank or a quotation mark: write 2001,2002")
    return value


def _some_positive_seconds(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value or min(value) < 1 or max(value) > _TEN_YEARS:
        msg = "needs at least one number of seconds, each 1 or more, for example 30,60,120"
        raise ValueError(msg)
    return value


def _as_gateways(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_as_gateway, value))


def _as_gateway(host: str) -> str:
    """A host as `gateway_of` writes it: another spelling of it would never match a payout."""
    if host.count(":") > 1 and "[" not in host and "://" not in host:
        return host.lower()  # an IPv6 address as gateway_of writes it
    has_scheme = host.startswith(("http://", "https://"))
    try:
        found = gateway_of(host if has_scheme else f"https://{host}")
    except ValueError:
        found = ""
    if not found or (not has_scheme and ("://" in host or found.endswith(":80"))):
        raise ValueError("must be hosts, with the port if it is not the scheme's own: host:8443")
    return found


def _amounts(value: object) -> object:
    """`USD:1000,EUR:900.50`, or a table of the accounts file, as currency -> amount."""
    if isinstance(value, Mapping):
        pairs = [(str(currency), str(amount)) for currency, amount in value.items()]
    else:
        texts = [str(part).partition(":") for part in _as_tuple(value)]
        pairs = [(currency, amount) for currency, _, amount in texts]
    found: dict[str, Decimal] = {}
    for name, text in pairs:
        currency = name.strip()
        if currency in found:
            raise ValueError(f"names {currency} twice")
        found[currency] = _amount(currency, text.strip())
    return found


def _amount(currency: str, text: str) -> Decimal:
    letters = currency.isascii() and currency.isalpha() and currency.isupper()
    right = letters and len(currency) in _CURRENCY_LENGTHS
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not right or not amount.is_finite() or not 0 < amount < _LARGEST:
        msg = "must be currencies with amounts above zero, for example USD:1000,EUR:900.50"
        raise ValueError(msg)
    return amount


Codes = Annotated[
    frozenset[str], NoDecode, BeforeValidator(_parts), AfterValidator(_codes_in_one_word)
]
Names = Annotated[frozenset[str], NoDecode, BeforeValidator(_parts_or_none)]
"""`none` stands for none: an empty value is one that is not set."""
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts), AfterValidator(_as_gateways)]
Seconds = Annotated[
    tuple[int, ...], NoDecode, BeforeValidator(_parts), AfterValidator(_some_positive_seconds)
]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_parts)]
Amounts = Annotated[Mapping[str, Decimal], NoDecode, BeforeValidator(_amounts)]
"""Currency -> an amount of it; empty for none."""
Positive = Annotated[float, Field(gt=0, le=_TEN_YEARS, allow_inf_nan=False)]
