"""The wallet systems that EPAY documents, for people who type their codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

CHANNELS: Mapping[str, str] = MappingProxyType(
    {"11": "Perfect Money", "12": "Advcash", "16": "Payeer", "18": "FasaPay"}
)
"""EPAY's channelCode (epay-gateway 3.1). Other codes are not refused: EPAY may have more by now."""

NAMED = ", ".join(f"{code} {name}" for code, name in CHANNELS.items())


def undocumented(codes: Iterable[str]) -> str | None:
    """A warning about channels that EPAY does not document, or None.

    It shows a mistyped code before the payout is sent.
    """
    unknown = sorted(set(codes) - CHANNELS.keys())
    if not unknown:
        return None
    return f"Check channel {', '.join(unknown)}: EPAY documents {NAMED}."
