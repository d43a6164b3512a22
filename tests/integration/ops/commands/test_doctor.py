"""`payouts doctor` about a service at work: pauses, messages, and how long a review waits."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import redis
from sqlalchemy import Engine, text

from shared.clock import utcnow
from shared.storage import pauses
from shared.storage.pauses import Scope
from shared.storage.payout_store import PayoutStore
from tests.support.commands import flagged, queued


def test_doctor_tells_of_pauses_and_messages(run: Any, engine: Engine, redis_url: str) -> None:
    """A pause is no illness; a parked message is one, and says where to read what to do."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)
    pauses.pause(engine, Scope(currency="USD"), "Ann", "EPAY's evening", utcnow())
    flagged(engine, queued(engine, "order-1", age=timedelta(0)), "above_cap")
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("payouts", "a", "b")
        found = {one["what"]: one for one in json.loads(run("doctor", "--json").out)}
        client.lpush("payouts.parked", "a")
        ill = run("doctor")
    assert found["pauses"]["ok"]
    assert "currency USD" in found["pauses"]["words"]
    assert "Ann (EPAY's evening)" in found["pauses"]["words"]
    assert "payouts 2, " in found["messages waiting"]["words"]
    fine = {"what": "parked messages", "mark": "ok", "ok": True, "words": "none"}
    assert found["parked messages"] == fine
    assert (found["pauses"]["mark"], found["review"]["mark"]) == ("WARN", "WARN")
    assert "payouts review" in found["review"]["words"]
    assert "authentication OK" in found["gateway"]["words"]
    assert "schema (0" in found["postgresql"]["words"]
    assert ill.code == 1
    assert "FAIL parked messages: 1 could not be processed" in ill.out
    assert "docs/operations.md" in ill.out


def test_doctor_fails_when_a_review_waits_for_too_long(run: Any, engine: Engine) -> None:
    """By default it says how many and for how long; with --max-review-age it fails."""
    PayoutStore(engine).claim_due(utcnow(), utcnow(), 1)

    def review_line(*options: str) -> tuple[int, str]:
        ran = run("doctor", *options)
        return ran.code, next(line for line in ran.out.splitlines() if " review: " in line)

    assert review_line() == (0, "ok   review: no payout is in review")
    assert review_line("--max-review-age", "0s")[0] == 0
    flagged(engine, queued(engine, "order-1", due_at=None), "above_cap")
    flagged(engine, queued(engine, "order-2", due_at=None), "above_cap")
    with engine.begin() as connection:
        connection.execute(text("UPDATE payout SET due_at = now() + interval '1 h'"))
    waiting = "2 payouts in review, the oldest for 2 d 0 h"
    assert review_line() == (0, f"WARN review: {waiting}: see `payouts review`")
    assert review_line("--max-review-age", "3d")[0] == 0
    code, line = review_line("--max-review-age", "47h")
    assert code == 1
    assert line == f"FAIL review: {waiting}, longer than 1 d 23 h: see `payouts review`"
    for wrong in ("2", "1w", "-1h", "2 d", "1h30m"):
        ran = run("doctor", f"--max-review-age={wrong}")
        assert (ran.code, "is not a duration" in ran.err.replace("\n", " ")) == (2, True), wrong
