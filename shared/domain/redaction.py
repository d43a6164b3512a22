"""Account numbers removed from texts that EPAY or a person wrote. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from shared.domain.gateway import Refused
from shared.domain.payout import UnreadableAccount

_SHORTEST_REDACTED = 4
"""A shorter account number is not redacted: it would match parts of ordinary words."""
_REDACTED = "***"


def redact_refusal(refused: Refused, account_no: str) -> Refused:
    """The refusal without the payee's account number in its message.

    A message that was cut short within the number loses the part at its end too. Of a number that
    cannot be read nothing can be found in the message: it is left out.
    """
    if isinstance(account_no, UnreadableAccount):
        return replace(refused, message=_REDACTED)
    if len(account_no) < _SHORTEST_REDACTED:
        return refused
    message = redact(refused.message, account_no)
    for length in range(len(account_no) - 1, _SHORTEST_REDACTED - 1, -1):
        if message.casefold().endswith(account_no[:length].casefold()):
            message = message[:-length] + _REDACTED
            break
    return replace(refused, message=message)


def redact(text: str, account_no: str) -> str:
    """The text with every whole occurrence of the account number replaced, in any case."""
    if len(account_no) < _SHORTEST_REDACTED:
        return text
    return re.sub(re.escape(account_no), _REDACTED, text, flags=re.IGNORECASE)
