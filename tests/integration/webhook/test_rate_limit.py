"""Floods: what is not believed is bounded over all webhook processes, what is signed passes."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from devstack.ports import free_port
from devstack.redis import LocalRedis
from shared.contract import QUEUE_RECONCILE
from shared.redis_client import RedisClient, RedisUnavailable
from tests.support.webhook import (
    ACCOUNT,
    FORM,
    PATH,
    RecordingBroker,
    app,
    fields,
    settings,
    signed,
)
from webhook import create_app
from webhook.rate_limit import SharedLimit
from webhook.unverified import UnverifiedCallbackBudget

WRONG = "0" * 64


def client(redis_url: str, broker: RecordingBroker | None = None, **changes: Any) -> FlaskClient:
    return app(redis_url, broker or RecordingBroker(), **changes).test_client()


def post(sender: FlaskClient, data: Any, address: str = "192.0.2.1", **headers: str) -> int:
    answer = sender.post(
        PATH,
        data=data,
        content_type=FORM,
        headers=headers,
        environ_overrides={"REMOTE_ADDR": address},
    )
    return answer.status_code


def commands(redis_url: str) -> int:
    with redis.Redis.from_url(redis_url) as server:
        return int(server.info("stats")["total_commands_processed"])


def test_failures_are_limited_over_all_processes(redis_url: str) -> None:
    """429 after so many from one address, whichever process they came to; no other is touched."""
    one, two = (client(redis_url, callback_rate_limit="5/minute") for _ in range(2))
    bad = fields(sign=WRONG)
    assert [post(one, bad) for _ in range(3)] == [403] * 3
    assert [post(two, bad) for _ in range(4)] == [403, 403, 429, 429]
    assert post(one, bad) == 429
    assert post(one, fields()) == 429, "whatever is wrong with it"
    assert post(one, bad, "192.0.2.2") == 403


def test_a_right_signature_is_never_limited(redis_url: str) -> None:
    """Who shares EPAY's proxy, or its address, cannot keep EPAY out."""
    broker = RecordingBroker()
    sender = client(redis_url, broker, callback_rate_limit="1/hour")
    assert [post(sender, fields(sign=WRONG)) for _ in range(5)] == [403, 429, 429, 429, 429]
    assert [post(sender, signed()) for _ in range(50)] == [200] * 50
    assert len(broker.believed) == 50


def test_a_limited_sender_costs_redis_nothing(redis_url: str) -> None:
    """Once over the limit, a process asks Redis once a second, not for each request."""
    sender = client(redis_url, callback_rate_limit="1/hour")
    for _ in range(3):
        post(sender, fields(sign=WRONG))
    before = commands(redis_url)
    assert {post(sender, fields(sign=WRONG)) for _ in range(100)} == {429}
    assert commands(redis_url) - before < 20


def test_a_good_callback_costs_redis_its_message(redis_url: str) -> None:
    """No limit and no lookup stands in the way of what is signed."""
    sender = create_app(settings(redis_url)).test_client()
    for _ in range(3):
        assert post(sender, signed()) == 200
    before = commands(redis_url)
    for _ in range(50):
        assert post(sender, signed()) == 200
    assert commands(redis_url) - before <= 55


def test_the_budget_of_hints_is_shared(redis_url: str) -> None:
    """Random order numbers bring no more messages than the setting says, over all processes."""
    broker = RecordingBroker()
    senders = [client(redis_url, broker, callback_hints_per_minute=7) for _ in range(2)]
    for number in range(200):
        code = post(senders[number % 2], fields(sign=WRONG, merchantOrderNo=f"forged-{number}"))
        assert code == 403
    assert len(broker.taken) == 7
    assert broker.believed == []


def test_repeats_of_one_order_do_not_eat_the_budget(redis_url: str) -> None:
    """One order takes one hint a minute, the others keep theirs."""
    broker = RecordingBroker()
    sender = client(redis_url, broker, callback_hints_per_minute=2)
    for _ in range(20):
        post(sender, fields(sign=WRONG))
    post(sender, fields(sign=WRONG, merchantOrderNo="order-2"))
    assert [message.merchant_order_no for message in broker.taken] == ["order-1", "order-2"]


def test_no_budget_is_no_hint(redis_url: str) -> None:
    """CALLBACK_HINTS_PER_MINUTE=0: what is not signed goes nowhere, and nobody asks Redis."""
    broker = RecordingBroker()
    assert post(client(redis_url, broker, callback_hints_per_minute=0), fields(sign=WRONG)) == 403
    assert broker.taken == []


def test_unsigned_is_no_hint(redis_url: str) -> None:
    """Without a signature it is no callback: 400, and nothing on the queue."""
    broker = RecordingBroker()
    assert {post(client(redis_url, broker), fields(**extra)) for extra in ({}, {"sign": ""})} == {
        400
    }
    assert broker.taken == []


def test_the_budget_comes_back(redis_url: str) -> None:
    """A window is over when Redis says so; a process that was full asks again after a second."""
    now = [100.0]
    link = RedisClient(redis_url)
    limit = SharedLimit(link, "2/hour", "test", clock=lambda: now[0])
    assert [limit.hit() for _ in range(3)] == [True, True, False]
    with redis.Redis.from_url(redis_url) as server:
        [key] = server.scan_iter("payouts:limit*")
        assert 0 < server.ttl(key) <= 3600
        server.delete(key)
    assert (limit.is_full(), limit.hit()) == (True, False)
    now[0] += 1.1
    assert (limit.is_full(), limit.hit()) == (False, True)


def test_remembered_senders_are_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood from ever new addresses fills no memory."""
    monkeypatch.setattr("webhook.rate_limit._FULL_CACHE_MAX_KEYS", 10)
    limit = SharedLimit(RedisClient(redis_url), "1/hour", "test")
    for number in range(100):
        assert [limit.hit(f"10.0.0.{number}") for _ in range(2)] == [True, False]
    assert len(limit._full_until) <= 10


def test_without_redis_each_process_limits_alone() -> None:
    """503 for what might have been a hint, 429 beyond the limit; 503 for what is signed."""
    sender = create_app(
        settings(f"redis://127.0.0.1:{free_port()}/0", callback_rate_limit="3/minute")
    ).test_client()
    assert [post(sender, fields(sign=WRONG)) for _ in range(5)] == [503, 503, 503, 429, 429]
    assert post(sender, fields(), "192.0.2.2") == 400
    assert post(sender, signed()) == 503


def test_a_silent_redis_holds_up_one_request_in_two_seconds() -> None:
    """A flood while Redis says nothing does not keep every thread waiting."""
    with LocalRedis() as server:
        sender = client(server.url)
        assert post(sender, fields(sign=WRONG)) == 403
        with server.paused():
            post(sender, fields(sign=WRONG))
            begun = time.monotonic()
            told = Counter(post(sender, fields(sign=WRONG)) for _ in range(100))
            assert (set(told), time.monotonic() - begun < 50) == ({503}, True), "2 s each"
        link = RedisClient(server.url)
        link.ping()


def test_hints_say_when_redis_is_away() -> None:
    """No guess: EPAY has to come again."""
    hints = UnverifiedCallbackBudget(RedisClient(f"redis://127.0.0.1:{free_port()}/0"), 30)
    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            hints.allow("order-1")


def test_what_is_on_the_queue_after_a_flood(redis_url: str) -> None:
    """The true ones, and the budget of hints; nothing else reached Redis's lists."""
    sender = create_app(settings(redis_url, callback_hints_per_minute=5)).test_client()
    for number in range(300):
        forged = fields(
            merchantOrderNo=f"forged-{number}", **({"sign": WRONG} if number % 2 else {})
        )
        assert post(sender, forged) in {400, 403, 429}
        if number % 30 == 0:
            assert post(sender, signed()) == 200
    with redis.Redis.from_url(redis_url) as server:
        assert server.llen(QUEUE_RECONCILE) == 10 + 5


def test_another_account_is_for_the_worker_to_judge(redis_url: str) -> None:
    """Well signed, but not ours: 200 and on its way; law 6 holds it against the payout."""
    broker = RecordingBroker()
    assert post(client(redis_url, broker), signed(epayAccount="somebody@else")) == 200
    assert broker.believed[0].epay_account == "somebody@else" != ACCOUNT
