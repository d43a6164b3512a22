"""The flood, at its full length: minutes are `make chaos`'s."""

from __future__ import annotations

import sys

import pytest

from tests.edge import flood


@pytest.mark.chaos
def test_signed_callbacks_pass_through_a_flood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty seconds of 5,000 unsigned callbacks a second: every signed one is accepted."""
    monkeypatch.setattr(sys, "argv", ["flood"])
    with capsys.disabled():
        assert flood.main() == 0
