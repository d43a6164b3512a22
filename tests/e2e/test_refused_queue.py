"""One app's queue refuses: the other apps are told in time (law 15), with real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.wait import wait_for
from shared.clock import utcnow
from shared.domain.notifications import Message
from shared.storage.engine import make_engine
from shared.storage.outbox import add_messages
from tests.support.service import OUTCOME_TASK, Service

QUEUES = [f"shop-{nth}" for nth in range(20)]
REFUSED, *OTHERS = QUEUES
TOLD_WITHIN = 2


@pytest.fixture
def alone(make_service: Any) -> Iterator[Service]:
    made: Service = make_service()
    yield made
    made.processes.terminate_all()


def tell(service: Service, count: int) -> None:
    """Messages for every app, in one transaction, those of the refused queue first."""
    engine = make_engine(service.database_url, pool_size=1)
    told = [Message(OUTCOME_TASK, queue, {"nth": nth}) for queue in QUEUES for nth in range(count)]
    add_messages(engine.execution_options(isolation_level="AUTOCOMMIT"), None, told, utcnow())
    engine.dispose()


def test_one_refused_queue_among_twenty(alone: Service) -> None:
    """Nineteen are told within two seconds; the refused one when its key is gone, and all of it."""
    alone.start_worker(queues=("payouts.reconcile", "payouts.notify"))
    alone.start_beat()
    with redis.Redis.from_url(alone.redis_url) as client:
        client.hset(REFUSED, "something", "else")
        wait_for(lambda: "Scheduler" in alone.log("beat"), 60, "beat to tick")
        tell(alone, 5)
        began = time.monotonic()
        wait_for(lambda: all(client.llen(queue) == 5 for queue in OTHERS), 60, "19 to be told")
        took = time.monotonic() - began
        assert "queue_refuses_outcomes" in alone.log("worker1")
        time.sleep(3)
        assert alone.log("worker1").count("queue_refuses_outcomes") == 1, "said once"
        client.delete(REFUSED)
        wait_for(lambda: client.llen(REFUSED) == 5, 60, "the refused one to be told")
    assert took < TOLD_WITHIN
