"""The second witness of a send: a mark in Redis that says which claim sent an order (law 11). Pure.

A database that went back in time does not remember the claim; the payout may then have been sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from shared.domain.payout import PayoutState

_HASH_LENGTH = 32

SENT_BEFORE = "sent_before"
ASKED_FIRST = "asked_first"


@dataclass(frozen=True, slots=True)
class Mark:
    """One claim of one payout, as Redis keeps it."""

    epoch: int
    """The deployment's epoch at that time; 0 for a mark that was written anew from the database."""
    sequence: int
    hash: str
    """The begin of the journal's hash at `sequence`: the journal has it, or it is another story."""
    first_sent_at: datetime

    @classmethod
    def make(cls, epoch: int, sequence: int, journal_hash: str, first_sent_at: datetime) -> Self:
        """The mark of a payout whose journal has that hash at that sequence."""
        return cls(
            epoch, sequence, journal_hash[:_HASH_LENGTH], first_sent_at.replace(microsecond=0)
        )

    @classmethod
    def of(cls, payout: PayoutState, epoch: int) -> Self:
        """The mark of a claimed payout."""
        first = payout.first_sent_at or payout.updated_at
        return cls.make(epoch, payout.sequence, payout.journal_hash, first)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The mark of a text made by `str`."""
        epoch, sequence, digest, first = text.split(":")
        return cls(int(epoch), int(sequence), digest, datetime.fromtimestamp(int(first), UTC))

    def __str__(self) -> str:
        """Compact: one mark is kept for each payout that was sent."""
        first = int(self.first_sent_at.timestamp())
        return f"{self.epoch}:{self.sequence}:{self.hash}:{first}"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a claimed payout may have been sent before: it is asked about, not sent."""

    kind: str
    """SENT_BEFORE or ASKED_FIRST: the kind of the event."""
    reason: str
    first_sent_at: datetime | None = None
    """When it was first sent, as far as the mark says."""


def doubt_about(
    own: Mark, found: Mark | None, *, remembered: bool, asks_first: bool
) -> Doubt | None:
    """Whether a payout whose claim is `own` may have been sent already; None: it may be sent.

    Args:
        found: the mark that was there before `own` was written; None: none, or Redis is away.
        remembered: whether the payout's journal has both claims.
        asks_first: whether an order without a mark of this epoch is asked about first.
    """
    if found is not None and not (remembered and found.sequence < own.sequence):
        first = f"{found.first_sent_at:%F %T} UTC"
        reason = f"Redis has a send (first {first}) that the database does not remember"
        return Doubt(SENT_BEFORE, reason, found.first_sent_at)
    if asks_first and (found is None or found.epoch != own.epoch):
        return Doubt(ASKED_FIRST, "the database was recovered, and may have lost a send")
    return None
