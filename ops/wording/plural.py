"""Counts with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`1 payout`, `2 payouts`: the count, and the noun in the number that fits it."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
