"""The result of one check of `payouts doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OK, WARN, FAIL = "ok", "WARN", "FAIL"
"""The first word of a line; WARN: the check passed, but an operator must know of it."""


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    words: str
    mark: str = OK

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.mark != FAIL


def findings(what: str, problems: Sequence[str], fine: str) -> list[Finding]:
    """A FAIL for each problem, or one finding that says what is fine."""
    return [Finding(what, words, FAIL) for words in problems] or [Finding(what, fine)]
