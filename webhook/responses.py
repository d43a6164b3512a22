"""The webhook's answers: short texts that reveal nothing about our records."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a callback."""

    result: str
    """The label in the metrics."""
    body: str
    status: int

    def response(self) -> Response:
        """The HTTP response."""
        return Response(self.body, self.status, content_type=TEXT)


ACCEPTED = Answer("accepted", "success", 200)
"""The only answer after which EPAY stops repeating: the message is on the broker."""
MALFORMED = Answer("malformed", "malformed", 400)
OUTSIDE = Answer("outside", "forbidden", 403)
BAD_SIGNATURE = Answer("bad_signature", "forbidden", 403)
TOO_LARGE = Answer("too_large", "too large", 413)
UNSUPPORTED_TYPE = Answer("unsupported_type", "unsupported media type", 415)
RATE_LIMITED = Answer("rate_limited", "too many requests", 429)
BROKER_AWAY = Answer("broker_away", "try again later", 503)


class Refused(Exception):
    """The request cannot be read as a callback; `answer` is all that the sender is told."""

    def __init__(self, answer: Answer, reason: str = "") -> None:
        super().__init__(reason)
        self.answer = answer
