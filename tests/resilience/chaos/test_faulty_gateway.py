"""A gateway that pays whatever it is sent, and shows little; a broker that forgets everything."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import Engine, text

from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.storage import migrate
from shared.storage.engine import make_engine
from tests.resilience.chaos.audit import Books, count
from tests.resilience.chaos.environment import SETTINGS, start
from tests.support.factories import request_kwargs

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(560)]


@dataclass
class Scene:
    """Everything that runs."""

    processes: ProcessGroup
    redis: LocalRedis
    gateway: Gateway
    engine: Engine

    def ask(self, orders: list[str]) -> None:
        app = Celery("shop", broker=self.redis.url, set_as_current=False)
        for no in orders:
            app.send_task("payouts.request", kwargs=request_kwargs(no), queue="payouts")
        app.close()

    def rows(self, condition: str = "true") -> int:
        with self.engine.connect() as connection:
            found = connection.execute(text(f"SELECT count(*) FROM payout WHERE {condition}"))
            return int(found.scalar_one())

    def books(self, orders: list[str]) -> Books:
        books = count(self.engine, orders, self.gateway.ledger()["orders"], {})
        books.broken = [words for words in books.broken if not words.startswith("TOLD")]
        return books


def scene(tmp_path: Path, config: SandboxConfig, settings: dict[str, str]) -> Iterator[Scene]:
    with (
        LocalPostgres() as postgres,
        LocalRedis() as redis,
        Gateway(config) as gateway,
        ProcessGroup() as processes,
    ):
        migrate.upgrade(postgres.url)
        start(processes, postgres, redis, gateway, tmp_path, {**SETTINGS, **settings})
        engine = make_engine(postgres.url, pool_size=1)
        yield Scene(processes, redis, gateway, engine)
        engine.dispose()


@pytest.fixture
def cruel(tmp_path: Path) -> Iterator[Scene]:
    """Pays again, hides a new order for 20 s, loses half its answers."""
    config = SandboxConfig(duplicates=Duplicates.PAY, callback_scale=0.05, pay_after=30)
    settings = {"EPAY_SETTLE_SECONDS": "60", "EPAY_QUERY_BACKOFF": "5,10,15"}
    for made in scene(tmp_path, config, settings):
        made.gateway.set_faults(query_hidden_seconds=20, lose_answers=0.5)
        yield made


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Scene]:
    """Takes an order at once and ends it much later; tells nobody."""
    config = SandboxConfig(duplicates=Duplicates.PAY, pay_after=20, callback_scale=100)
    yield from scene(tmp_path, config, {"EPAY_NOTIFY_URL": ""})


def test_never_paid_twice_by_a_gateway_that_would(cruel: Scene) -> None:
    """Half of all answers lost, orders hidden, workers killed again and again: paid once each."""
    dice = random.Random(3)
    orders = [f"cruel-{nth}" for nth in range(300)]
    cruel.ask(orders)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        name = dice.choice(["worker-1", "worker-2", "reconciler"])
        cruel.processes[name].kill()
        cruel.processes.restart(name)
        time.sleep(dice.uniform(1.5, 3))
    known = [no for no in orders if cruel.rows(f"merchant_order_no = '{no}'")]
    cruel.ask([no for no in orders if no not in known])
    # not "ended or in review": an order that is still hidden is in review until it shows
    wait_for(lambda: cruel.rows("status = 'succeeded'") == len(orders), 400, "every end")
    books = cruel.books(orders)
    assert books.broken == []
    assert books.paid_once == len(orders)


def test_a_broker_that_forgets_everything_loses_no_accepted_payout(slow: Scene) -> None:
    """FLUSHALL with 1,000 payouts accepted and open: all end without being asked for again."""
    orders = [f"flush-{nth}" for nth in range(1000)]
    slow.ask(orders)
    wait_for(lambda: slow.rows() == len(orders), 120, "all accepted")
    assert slow.rows("status <> 'succeeded'") > 900
    slow.redis.kill()
    slow.redis.start(wipe=True)
    wait_for(lambda: slow.rows("status = 'succeeded'") == len(orders), 200, "every end")
    assert slow.books(orders).broken == []
