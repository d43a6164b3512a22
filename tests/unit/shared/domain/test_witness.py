"""Law 11, the second witness: which marks let a payout be sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.witness import ASKED_FIRST, SENT_BEFORE, Mark, doubt_about
from tests.support.factories import T0, accepted

OWN = Mark.of(accepted(), 2)
OTHER = replace(
    OWN, sequence=OWN.sequence - 1, hash="0" * 32, first_sent_at=T0 - timedelta(hours=1)
)


def test_a_mark_is_read_as_it_was_written() -> None:
    """The begin of the hash of the claim, and the first send to the second."""
    payout = accepted()
    assert Mark.parse(str(OWN)) == OWN
    assert payout.journal_hash.startswith(OWN.hash)
    assert (OWN.epoch, OWN.sequence) == (2, payout.sequence)


@pytest.mark.parametrize(
    ("found", "remembered", "asks_first", "kind"),
    [
        (None, True, False, None),
        (OTHER, True, False, None),
        (OTHER, False, False, SENT_BEFORE),
        (OTHER, False, True, SENT_BEFORE),
        (None, True, True, ASKED_FIRST),
        (replace(OTHER, epoch=1), True, True, ASKED_FIRST),
        (OTHER, True, True, None),
        (OWN, True, False, SENT_BEFORE),
        (replace(OTHER, sequence=OWN.sequence), True, False, SENT_BEFORE),
    ],
)
def test_when_a_payout_is_asked_about(
    found: Mark | None, remembered: bool, asks_first: bool, kind: str | None
) -> None:
    """A claim that the journal does not have; while asking first, no mark of this epoch."""
    doubt = doubt_about(OWN, found, remembered=remembered, asks_first=asks_first)
    assert (doubt and doubt.kind) == kind
    if kind == SENT_BEFORE:
        assert doubt is not None
        assert found is not None
        assert doubt.first_sent_at == found.first_sent_at
