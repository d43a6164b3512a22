"""Account numbers blotted out of what EPAY says. Pure."""

from __future__ import annotations

import dataclasses
import re

from shared.domain.gateway import Refused

_SHORTEST_REDACTED = 4
"""A shorter account number is not blotted out: it would hit half the words of a message."""
_REDACTED = "***"


def redact_refusal(refused: Refused, account_no: str) -> Refused:
    """The refusal, its words without the payee's account, should they repeat it.

    The words may have been cut short within it: then its beginning is blotted out at the end.
    """
    if len(account_no) < _SHORTEST_REDACTED:
        return refused
    words = redact(refused.message, account_no)
    for length in range(len(account_no) - 1, _SHORTEST_REDACTED - 1, -1):
        if words.casefold().endswith(account_no[:length].casefold()):
            words = words[:-length] + _REDACTED
            break
    return dataclasses.replace(refused, message=words)


def redact(words: str, account_no: str) -> str:
    """The words without the account, wherever it stands whole in them."""
    if len(account_no) < _SHORTEST_REDACTED:
        return words
    return re.sub(re.escape(account_no), _REDACTED, words, flags=re.IGNORECASE)
