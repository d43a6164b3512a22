"""Redis forgets, hangs up, falls silent, stalls, dies: payouts go on, and none is paid twice."""

from __future__ import annotations

import time

import pytest
import requests

from tests.support.drill import LEASE, QUERIED, Drill
from tests.support.tcp_proxy import Proxy

WEBHOOK_SECONDS = 15
"""Two tries of a publish, 5 s each: a third one would take that long."""
SILENCE_NOTICED = 60.0
"""1 s of a wait and at most two health checks of 10 s, and the way back; TCP takes minutes."""


def test_flushall(drill: Drill) -> None:
    """Redis forgets everything: what was accepted finishes, and nobody asks again."""
    drill.ask(20, f"{QUERIED} sandbox:pending=1")
    drill.until_status(drill.orders, "processing", "pending_withdrawal", timeout=60)
    with drill.client() as client:
        client.flushall()
    drill.note("from FLUSHALL to the last end", drill.finish(timeout=60))


def test_clean_closes(drill: Drill) -> None:
    """All connections are closed, five times under load: nothing needs a person or a restart."""
    for _ in range(5):
        drill.ask(5, QUERIED)
        drill.until(drill.proxy.close_all, 60, "connections to close")
    drill.until(lambda: len(drill.statuses()) >= 20, 60, "most to be accepted")
    asked_again = drill.ask_again(drill.orders, QUERIED)
    drill.count("requests not yet on disk, asked for again", len(asked_again))
    drill.note("from the last close to the last end", drill.finish(timeout=60))


@pytest.mark.chaos
def test_silent_loss(drill: Drill) -> None:
    """All connections die without a word: the worker notices, and what was lost is asked again."""
    accepted = drill.ask(10, f"{QUERIED} sandbox:pending=1")
    drill.until_status(accepted, "processing", "pending_withdrawal", timeout=60)
    assert drill.proxy.silence()
    began = time.monotonic()
    fresh = drill.ask(12, QUERIED)
    drill.until(lambda: drill.statuses().keys() & set(fresh), SILENCE_NOTICED, "the worker")
    drill.note("from the silence to the first new payout", time.monotonic() - began)
    # Without a new request: the payouts that were on disk need nobody to ask for them again.
    drill.until_status(accepted, "succeeded", timeout=60)
    drill.note("from the silence to the end of what was accepted", time.monotonic() - began)
    late = drill.ask_again(fresh, QUERIED)
    drill.count("requests of 12 not yet on disk, asked for again", len(late))
    drill.finish(timeout=60)
    drill.note("from the silence to the last end", time.monotonic() - began)


def test_lost_publish_reply(drill: Drill) -> None:
    """The reply to a publish is lost: Celery publishes again, and the second does nothing."""
    with Proxy(drill.redis.port) as proxy, drill.client_app_behind(proxy) as client_app:
        proxy.lose_reply(b"LPUSH")
        drill.ask(1, app=client_app)
        assert len(proxy.lost) == 1
        assert proxy.passed[b"LPUSH"] == 2
    drill.note("from the publish to the end", drill.finish(timeout=60))
    drill.until(lambda: not drill.service.waiting()["payouts"], 60, "the second message")
    assert drill.creates() == 1


def test_message_lost_on_its_way(drill: Drill) -> None:
    """What ends a wait is lost, and what a fetch took: both come again, for several queues too."""
    hinted = drill.ask(3, QUERIED)
    drill.proxy.lose_reply(b"BLMOVE", b"payouts.query")
    drill.until(lambda: drill.proxy.lost, 60, "a lost end of a wait for a query")
    began = time.monotonic()
    drill.proxy.lose_reply(b"EVALSHA", b"payouts.unacked")
    drill.until(lambda: len(drill.proxy.lost) == 2, 60, "a lost answer")
    drill.until_status(hinted, "succeeded", timeout=LEASE + 15)
    drill.note("from the loss of a query message to the end", time.monotonic() - began)
    drill.proxy.lose_reply(b"BLMOVE", b"payouts.request")
    asked = drill.ask(1)
    drill.until(lambda: len(drill.proxy.lost) == 3, 60, "a lost end of a wait")
    drill.note("from the loss of a request's announcement to the end", drill.finish(timeout=60))
    assert drill.creates() == len(hinted + asked)


def test_everything_twice_and_shuffled(drill: Drill) -> None:
    """Every message comes twice, the copy up to 1.5 s later: each payout is sent once."""
    with (
        drill.client_app_behind(drill.proxy) as client_app,
        drill.proxy.copying(seed=1, longest=1.5),
    ):
        drill.ask(15, app=client_app)
        drill.ask(15, QUERIED, app=client_app)
        drill.ask(5, "sandbox:drop_before_accepting", app=client_app)
        drill.ask(5, "sandbox:accept_then_close", app=client_app)
        drill.until_status(drill.orders, "succeeded", timeout=60)
    drill.count("messages put twice", drill.proxy.copied)
    drill.finish(timeout=60)
    assert drill.creates() == 40 + 5  # what the gateway dropped was proven absent, and sent again


def test_write_pause(drill: Drill) -> None:
    """Redis takes no writes for 3 s: callbacks get 503 or wait, and nothing is lost."""
    drill.ask(10, "sandbox:pending=1")
    drill.until_status(drill.orders, "processing", "pending_withdrawal", timeout=60)
    with drill.client() as client:
        client.execute_command("CLIENT", "PAUSE", "3000", "WRITE")
    began = time.monotonic()
    answer = drill.service.post(drill.service.callback(drill.orders[0], status="1"))
    took = time.monotonic() - began
    assert (answer.status_code, answer.text) in {(200, "success"), (503, "try again later")}
    assert took < WEBHOOK_SECONDS
    drill.note(f"the webhook's answer in the pause ({answer.status_code})", took)
    drill.finish(timeout=60)
    drill.note("from the pause to the last end", time.monotonic() - began)


def test_redis_restarts_empty(drill: Drill) -> None:
    """Redis dies and comes back empty amid work: accepted payouts end, workers live or wait."""
    accepted = drill.ask(10, f"{QUERIED} sandbox:pending=1")
    drill.until_status(accepted, "processing", "pending_withdrawal", timeout=60)
    drill.service.gateway.set_faults(latency_seconds=0.8)
    busy = drill.ask(10, QUERIED)
    drill.until(lambda: drill.creates() >= 15, 60, "requests on the wire")
    drill.redis.kill()
    late = drill.start_worker_unwaited(REDIS_URL=drill.redis.url)
    log = drill.service.log
    drill.until(lambda: "waiting_for_server" in log(late), 60, "the late worker to wait")
    assert drill.service.post(drill.service.callback(accepted[0], status="1")).status_code == 503
    ready = drill.service.callback_url.replace("epay/callback", "readyz")
    assert requests.get(ready, timeout=60).status_code == 503
    drill.redis.start(wipe=True)
    began = time.monotonic()
    drill.service.gateway.clear_faults()
    drill.until_status(accepted, "succeeded", timeout=60)
    drill.note("from an empty Redis to the end of what was accepted", time.monotonic() - began)
    drill.until(lambda: " ready." in log(late), 60, "the late worker to be ready")
    drill.ask_again(busy, QUERIED, broker_lost_some=True)
    assert "Unrecoverable" not in log(drill.workers[0])
    drill.replace_worker(drill.workers[0], late)
    drill.ask(5, QUERIED)
    drill.finish(timeout=60)
    assert log(late).count("waiting_for_server") == 1


@pytest.mark.chaos
def test_partition(drill: Drill) -> None:
    """Redis cannot be reached for 20 s, without a word: all come back when the way is open."""
    accepted = drill.ask(10, f"{QUERIED} sandbox:pending=1")
    drill.until_status(accepted, "processing", "pending_withdrawal", timeout=60)
    assert drill.proxy.silence(new=True)
    began = time.monotonic()
    drill.until(lambda: time.monotonic() - began > 20, 60, "the partition to last")
    drill.proxy.heal()
    began = time.monotonic()
    drill.until_status(accepted, "succeeded", timeout=60)
    drill.note("from the open way to the end of what was accepted", time.monotonic() - began)
    drill.ask(5, QUERIED)
    drill.until(lambda: len(drill.statuses()) >= 14, 60, "new requests")
    drill.ask_again(drill.orders, QUERIED)
    drill.finish(timeout=60)


@pytest.mark.chaos
def test_long_write_pause(drill: Drill) -> None:
    """Redis takes no writes for 15 s: the webhook answers 503 in time, EPAY comes again."""
    drill.ask(10, "sandbox:pending=1")
    drill.until_status(drill.orders, "processing", "pending_withdrawal", timeout=60)
    with drill.client() as client:
        client.execute_command("CLIENT", "PAUSE", "15000", "WRITE")
    began = time.monotonic()
    answer = drill.service.post(drill.service.callback(drill.orders[0], status="1"))
    took = time.monotonic() - began
    assert (answer.status_code, answer.text) == (503, "try again later")
    assert took < WEBHOOK_SECONDS
    drill.note("the webhook's answer in the pause (503)", took)
    drill.finish(timeout=60)
    drill.note("from the pause to the last end", time.monotonic() - began)


@pytest.mark.chaos
def test_redis_dies_again_and_again(drill: Drill) -> None:
    """Redis is killed ten times with requests on the wire: no worker ends of it."""
    for _ in range(10):
        drill.service.gateway.set_faults(latency_seconds=0.4)
        before = drill.creates()
        drill.ask(12, QUERIED)
        drill.until(lambda enough=before + 6: drill.creates() >= enough, 60, "requests on the wire")
        drill.redis.kill()
        began = time.monotonic()
        drill.until(lambda since=began: time.monotonic() - since > 0.5, 60, "answers to come in")
        drill.redis.start()
        drill.service.gateway.clear_faults()
        assert drill.workers[0] not in drill.service.processes.poll()
    # The last second of Redis' append-only file may be gone, and requests with it.
    drill.until(lambda: len(drill.statuses()) >= len(drill.orders) - 30, 60, "most to be on disk")
    lost = drill.ask_again(drill.orders, QUERIED, broker_lost_some=True)
    drill.count("messages lost, asked for again", len(lost))
    drill.finish(timeout=60)
