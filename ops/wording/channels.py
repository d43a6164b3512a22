"""The wallet systems that EPAY documents, for people who type their codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

CHANNELS: Mapping[str, str] = MappingProxyType(
    {"11": "Perfect Money", "12": "Advcash", "16": "Payeer", "18": "FasaPay"}
)
"""EPAY's channelCode (epay-gateway 3.1). Others are let through: EPAY may have more by now."""

NAMED = ", ".join(f"{code} {name}" for code, name in CHANNELS.items())


def undocumented(codes: Iterable[str]) -> str | None:
    """What to tell of channels that EPAY's documentation does not have; None where there is none.

    No reason to refuse, but a mistyped code is seen before it is sent, not when EPAY refuses it.
    """
    strange = sorted(set(codes) - CHANNELS.keys())
    if not strange:
        return None
    return f"Mind channel {', '.join(strange)}: EPAY documents {NAMED}."
