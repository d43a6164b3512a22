"""The ways to ask of docs/producers.md, each tried on a broker that loses every third message."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psycopg
from celery import Celery
from sqlalchemy.orm import Session

from devstack.process_group import ProcessGroup
from devstack.wait import wait_for
from sandbox.server import Gateway
from shared.storage.engine import make_engine
from tests.support.factories import request_kwargs
from tests.support.lossy_broker import EVERY, LossyHop
from tests.support.paths import PROGRAMS, ROOT

DOC = ROOT / "docs" / "producers.md"
ACCOUNT = "test2020@epay.com"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_START_SECONDS = 30


def code_with(mark: str) -> str:
    """The piece of Python on the page that has this text in it."""
    (found,) = [block for block in _BLOCK.findall(DOC.read_text()) if mark in block]
    return str(found)


@dataclass
class Ground:
    """A running service, and where the requesting apps find it."""

    database_url: str
    redis_url: str
    broker: str
    """The Redis that the app sends to and listens on: another than the workers'."""
    gateway: Gateway
    processes: ProcessGroup
    folder: Path
    environment: Mapping[str, str]
    """What a process needs to run at all."""
    ask_again: str = "1"
    """Seconds after which the app asks again."""

    def hop(self, loses: str) -> LossyHop:
        """From the app to the workers."""
        return LossyHop(self.broker, self.redis_url, "payouts", loses)

    def statuses(self, orders: list[str]) -> dict[str, str]:
        """Those of them that are on disk."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT merchant_order_no, status FROM payout WHERE merchant_order_no = ANY(%s)",
                (orders,),
            ).fetchall()
        return {str(no): str(status) for no, status in rows}

    def payments(self, orders: list[str]) -> dict[str, int]:
        """How often EPAY paid each; 0 for what it never saw."""
        books = self.gateway.ledger()["orders"]
        return {no: int(books[no]["payments"]) if no in books else 0 for no in orders}

    def wait_until_paid(self, orders: list[str], timeout: float) -> None:
        """Wait until each has its end, and hold that it was paid once."""

        def ended() -> bool:
            found = self.statuses(orders)
            return len(found) == len(orders) and set(found.values()) == {"succeeded"}

        wait_for(ended, timeout, f"{len(orders)} payouts to be paid")
        assert set(self.payments(orders).values()) == {1}


def by_transaction(ground: Ground, orders: list[str], timeout: float) -> None:
    """Way 1: the row in the app's transaction, as the page has it; every third hint is lost."""
    engine = make_engine(ground.database_url, pool_size=1)
    code: dict[str, Any] = {}
    with mock.patch.dict(os.environ, {"EPAY_ACCOUNT": ACCOUNT, "REDIS_URL": ground.broker}):
        exec(code_with("Producer.from_settings"), code)
    with ground.hop("payouts.submit") as hop:
        for no in orders:
            with Session(engine) as session:
                code["pay_out"](session, SimpleNamespace(number=no, wallet="U1234567890"))
        assert len(ground.statuses(orders)) == len(orders)
        ground.wait_until_paid(orders, timeout)
    engine.dispose()
    assert hop.lost == len(orders) // EVERY


def by_receipt(ground: Ground, orders: list[str], timeout: float) -> None:
    """Way 2: the loop of the page, run as the page says; every third request is lost."""
    with shop(ground) as (environment, heard), ground.hop("payouts.request") as hop:
        with mock.patch.dict(os.environ, environment):
            code = runpy.run_path(str(ground.folder / "shop.py"))
            db = code["database"]()
            with db:
                for no in orders:
                    code["ask"](db, **request_kwargs(no))
        ground.wait_until_paid(orders, timeout)
        wait_for(
            lambda: heard(db) == {"succeeded": len(orders)}, timeout, "the app to know every end"
        )
        db.close()
        code["app"].close()
    assert hop.lost >= len(orders) // EVERY


def by_neither(ground: Ground, orders: list[str], timeout: float) -> None:
    """Sent once, and nothing written down: every third request is a payout that nobody knows."""
    app = Celery("careless", broker=ground.broker, set_as_current=False)
    lost = len(orders) // EVERY
    with ground.hop("payouts.request") as hop:
        for no in orders:
            app.send_task("payouts.request", kwargs=request_kwargs(no), queue="payouts")
        wait_for(lambda: hop.lost + hop.carried == len(orders), timeout, "all to be sent")
    app.close()
    wait_for(
        lambda: len(ground.statuses(orders)) == len(orders) - lost, timeout, "what was not lost"
    )
    there = list(ground.statuses(orders))
    ground.wait_until_paid(there, timeout)
    missing = sorted(set(orders) - set(there))
    assert hop.lost == len(missing) == lost
    assert set(ground.payments(missing).values()) == {0}


@contextmanager
def shop(ground: Ground) -> Iterator[tuple[dict[str, str], Callable[[Any], dict[str, int]]]]:
    """The app of the page: its loop and its worker as processes of their own."""
    (ground.folder / "shop.py").write_text(code_with("# shop.py"))
    environment = {
        "BROKER": ground.broker,
        "SHOP_DATABASE": str(ground.folder / "shop.sqlite"),
        "ASK_AGAIN_SECONDS": ground.ask_again,
        "LOOK_AGAIN_SECONDS": "10",
        "PYTHONUNBUFFERED": "1",
    }
    celery = PROGRAMS / "celery"
    log = ground.folder / "shop-worker.log"
    started = {
        "shop-loop": [sys.executable, str(ground.folder / "shop.py")],
        "shop-worker": [
            *(str(celery), "-A", "shop", "--workdir", str(ground.folder), "worker", "-Q", "shop"),
            *("-P", "solo", "-l", "INFO", "-n", "durable-shop@%h"),
        ],
    }
    with LossyHop(ground.redis_url, ground.broker, "shop"):
        for name, command in started.items():
            ground.processes.start(
                name,
                command,
                env={**ground.environment, **environment},
                log_path=ground.folder / f"{name}.log",
            )
        wait_for(lambda: " ready." in log.read_text(), _START_SECONDS, "the app's worker")
        try:
            yield environment, _statuses_heard
        finally:
            for name in started:
                ground.processes[name].kill()


def _statuses_heard(db: Any) -> dict[str, int]:
    rows = db.execute("SELECT status, count(*) FROM payout_asked GROUP BY status").fetchall()
    return dict(rows)


WAYS: Mapping[str, Callable[[Ground, list[str], float], None]] = {
    "transaction": by_transaction,
    "receipt": by_receipt,
    "neither": by_neither,
}
