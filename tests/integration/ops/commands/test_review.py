"""`payouts review`: what waits for a person, and what to type about it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from sqlalchemy import Engine

from tests.support.commands import flagged, queued, unknown


def test_review_says_why_since_when_and_what_to_type(run: Any, engine: Engine) -> None:
    """The longest waiting first; a printed command does what is said of it."""
    flagged(engine, queued(engine, "order 1"), "above_cap")
    flagged(engine, unknown(engine, "order-2"), "query_refused")
    queued(engine, "nothing-wrong")
    ran = run("review")
    assert (ran.code, ran.err) == (0, "")
    assert "nothing-wrong" not in ran.out
    assert "why: above_cap: in words" in ran.out
    assert "CAP_PER_PAYOUT" in ran.out
    assert "2 days" in ran.out
    [typed] = [line for line in ran.out.splitlines() if "release" in line and "--name" in line]
    arguments = shlex.split(typed.replace("YOU", "Ann"))
    assert arguments[0] == "payouts"
    assert run(*arguments[1:], "--yes").code == 0
    [left] = json.loads(run("review", "--json").out)
    assert (left["merchant_order_no"], left["code"]) == ("order-2", "query_refused")
    assert {choice["act"] for choice in left["choices"]} >= {"resend", "reject", "accept-as"}


def test_review_of_nothing(run: Any, engine: Engine) -> None:
    assert run("review").out == "No payout needs a decision.\n"
    assert run("review", "--json").out == "[]\n"


def test_review_says_when_there_is_more(run: Any, engine: Engine) -> None:
    for nth in range(2):
        flagged(engine, unknown(engine, f"order-{nth}"), "overdue")
    assert "more than 1" in run("review", "--limit", "1").err
