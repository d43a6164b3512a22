"""One running service under drill, and the count of the money after each fault."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from devstack.postgres import LocalPostgres
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from sandbox.settings import Duplicates, SandboxConfig
from shared.messaging.celery_config import UNACKED_KEYS
from shared.storage import journal_audit, migrate
from shared.storage.encryption import AccountCipher
from shared.storage.engine import make_engine
from tests.support.factories import request_kwargs
from tests.support.service import NOT_FOUND, QUEUES, Service, send, service
from tests.support.tcp_proxy import Proxy

LEASE = 4
VISIBILITY = 6
TIMES = {
    "EPAY_NOT_FOUND_CODES": NOT_FOUND,
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "1",
    "EPAY_LEASE_SECONDS": str(LEASE),
    "EPAY_SETTLE_SECONDS": "7",
    "EPAY_QUERY_BACKOFF": "1,1,2",
    "EPAY_SUBMIT_BACKOFF": "1",
    "BROKER_VISIBILITY_TIMEOUT": str(VISIBILITY),
    "BREAKER_PAUSE_SECONDS": "0.2",
    "BREAKER_LONGEST_PAUSE_SECONDS": "0.5",
    "SWEEP_SECONDS": "0.5",
    "NOTIFY_SECONDS": "0.5",
}
"""Days in seconds."""

QUERIED = "sandbox:no_callback"
"""A remark: the end is found by a query alone, so the whole machinery must work."""

_ALONE = ("--without-gossip", "--without-mingle")
_STOP_SECONDS = 5.0
_PREFIX = itertools.count(1)


@dataclass(frozen=True)
class Figure:
    """What a drill measured."""

    drill: str
    what: str
    value: str


@dataclass
class Drill:
    """A running service: worker, beat and webhook, all behind a proxy that can fail them."""

    service: Service
    proxy: Proxy
    postgres: LocalPostgres
    redis: LocalRedis
    figures: list[Figure]
    name: str = ""
    workers: list[str] = field(default_factory=list)
    """The workers that send, which are to be running."""
    reconciler: str = ""
    """The worker that follows and tells."""
    sound: bool = True
    """Whether the last drill came to its end: if not, the next one starts with new processes."""
    orders: list[str] = field(default_factory=list)
    """All that this drill asked for."""
    _ever: list[str] = field(default_factory=list)
    """Every worker that was ever started."""

    def begin(self, name: str) -> None:
        """Get ready for a drill: faults over, all processes there."""
        self.name, self.orders = name, []
        self.postgres.start()
        self.redis.start()
        self.proxy.heal()
        self.proxy.lost.clear()
        self.service.gateway.clear_faults()
        if not self.sound:
            for process in [*self._ever, "beat"]:
                self.service.processes[process].kill()
            self.workers.clear()
            self.reconciler = ""
        if not self.workers:
            self.workers.append(self.start_worker())
        if not self.reconciler:
            self.reconciler = self.start_reconciler()
        if "beat" in self.service.processes.poll():
            self.service.start_beat()
        self.sound = False

    def note(self, what: str, seconds: float) -> None:
        """Keep a measured time for the table at the end of the run."""
        self.figures.append(Figure(self.name, what, f"{seconds:.1f} s"))

    def count(self, what: str, number: int) -> None:
        """Keep a counted number for the table at the end of the run."""
        self.figures.append(Figure(self.name, what, str(number)))

    def ask(self, count: int, remark: str | None = None, app: Celery | None = None) -> list[str]:
        """Ask for so many payouts with plain celery, past the proxy; their numbers."""
        prefix = f"{self.name}-{next(_PREFIX)}"
        orders = [f"{prefix}-{number}" for number in range(count)]
        self.ask_for(orders, remark, app)
        self.orders += orders
        return orders

    def ask_for(
        self, orders: Iterable[str], remark: str | None = None, app: Celery | None = None
    ) -> None:
        """Ask for these payouts, maybe not for the first time."""
        for order in orders:
            kwargs = request_kwargs(order) | ({"remark": remark} if remark else {})
            send(app or self.service.client_app, kwargs)

    def ask_again(
        self, orders: Iterable[str], remark: str | None = None, *, broker_lost_some: bool = False
    ) -> list[str]:
        """Do what a requesting app without a receipt does; the numbers that had none.

        Unless the broker itself lost what it held, each would have come by itself all the same: it
        is on its queue, or among the unacked until the visibility timeout is over.
        """
        kept = self.on_the_broker()
        late = sorted(set(orders) - self.statuses().keys())
        if not broker_lost_some:
            assert [order for order in late if order not in kept] == []
        self.ask_for(late, remark)
        return late

    def on_the_broker(self) -> set[str]:
        """The order numbers of the requests that Redis holds, waiting or in a worker's hands."""
        with self.client() as client:
            # in this order: what moves meanwhile is seen twice, and not missed
            texts = [json.loads(text) for text in client.lrange(QUEUES[0], 0, -1)]
            texts += [json.loads(text)[0] for text in client.hvals(UNACKED_KEYS["unacked_key"])]
        calls = [json.loads(base64.b64decode(text["body"])) for text in texts]
        return {str(kwargs.get("merchant_order_no")) for _, kwargs, _ in calls}

    def statuses(self) -> dict[str, str]:
        """The status of every payout of this drill that is on disk."""
        rows = self.service.sql(
            "SELECT merchant_order_no, status FROM payout WHERE merchant_order_no = ANY(%s)",
            self.orders,
        )
        return {row.merchant_order_no: row.status for row in rows}

    def until(self, condition: Callable[[], Any], timeout: float, what: str) -> float:
        """Seconds that it took to become true."""
        began = time.monotonic()
        wait_for(lambda: bool(condition()), timeout, what)
        return time.monotonic() - began

    def until_status(self, orders: Iterable[str], *wanted: str, timeout: float) -> float:
        """Seconds until all have one of these statuses; any when none is named."""
        numbers = list(orders)

        def reached() -> bool:
            now = self.statuses()
            return all(no in now and (not wanted or now[no] in wanted) for no in numbers)

        try:
            return self.until(reached, timeout, f"{len(numbers)} payouts to be {wanted or 'there'}")
        except TimeoutError as late:
            now = self.statuses()
            open_now = {no: now.get(no) for no in numbers if now.get(no) not in wanted}
            late.add_note(f"these are not: {open_now}")
            raise

    def finish(self, timeout: float) -> float:
        """Wait until all that was asked for is paid, count the money; seconds waited."""
        seconds = self.until_status(self.orders, "succeeded", timeout=timeout)
        self.audit()
        return seconds

    def audit(self) -> None:
        """Count: nothing paid twice, nothing sent without its row, every journal whole."""
        ledger = self.service.gateway.ledger()
        assert ledger["totals"]["paid_twice"] == 0
        paid = {no for no, row in ledger["orders"].items() if row["payments"]}
        assert set(self.orders) <= paid
        assert [no for no, row in ledger["orders"].items() if row["creates_accepted"] > 1] == []
        rows = {row.merchant_order_no for row in self.service.sql("SELECT * FROM payout")}
        created = {no for no, row in ledger["orders"].items() if row["creates_received"]}
        assert created <= rows
        engine = make_engine(self.service.database_url, pool_size=1)
        try:
            broken = [
                found
                for found in journal_audit.audit_chains(engine, AccountCipher())
                if found is not None
            ]
        finally:
            engine.dispose()
        assert broken == []
        assert [no for no in self.running() if no in self.service.processes.poll()] == []
        self.sound = True

    def running(self) -> list[str]:
        """The processes that are to be running."""
        return [*self.workers, self.reconciler, "beat", "webhook"]

    def creates(self) -> int:
        """How many create requests for this drill's payouts came to the gateway."""
        orders = self.service.gateway.ledger()["orders"]
        return sum(orders[no]["creates_received"] for no in self.orders if no in orders)

    def events(self, kind: str) -> list[Any]:
        """This drill's events of a kind, in the order of their times."""
        return self.service.sql(
            "SELECT p.merchant_order_no, e.at FROM payout_event e"
            " JOIN payout p ON p.id = e.payout_id"
            " WHERE p.merchant_order_no = ANY(%s) AND e.kind = %s ORDER BY e.at",
            self.orders,
            kind,
        )

    def client(self) -> redis.Redis:
        """A connection to Redis past the proxy."""
        return redis.Redis.from_url(self.redis.url)

    def start_worker(self) -> str:
        """Start one more worker that sends, as the Procfile does, and wait until it works."""
        name = self.service.start_worker(*_ALONE, queues=QUEUES[:1])
        self._ever.append(name)
        return name

    def start_reconciler(self) -> str:
        """Start the worker that follows and tells."""
        name = self.service.start_worker(*_ALONE, queues=QUEUES[1:])
        self._ever.append(name)
        return name

    def start_worker_unwaited(self, **settings: str) -> str:
        """Start a worker whose servers may be away; its name."""
        number = next(_PREFIX)
        name = f"late{number}"
        worker = self.service.processes[self.workers[0]]
        command = [part.replace(self.workers[0], name) for part in worker.argv]
        self.service.processes.start(
            name,
            command,
            env={**self.service.environment, **settings},
            log_path=self.service.logs / f"{name}.log",
        )
        self._ever.append(name)
        return name

    def replace_worker(self, old: str, new: str) -> None:
        """Stop one worker politely; the other carries on alone."""
        assert self.service.processes.stop(old) == 0
        self.workers.remove(old)
        self.workers.append(new)

    @contextmanager
    def client_app_behind(self, proxy: Proxy) -> Iterator[Celery]:
        """A requesting app with plain celery whose way to Redis leads through a proxy."""
        app = Celery("asker", broker=proxy.url, set_as_current=False)
        try:
            yield app
        finally:
            app.close()


@contextmanager
def drilled_service(logs: Path, figures: list[Figure]) -> Iterator[Drill]:
    """A service on servers of its own, since they will be stopped; worker, beat, webhook run."""
    cruel = SandboxConfig(
        duplicates=Duplicates.PAY, pay_after=0.3, callback_scale=0.02, silence_seconds=3
    )
    with ExitStack() as stack:
        postgres = stack.enter_context(LocalPostgres(settings={"max_connections": "100"}))
        broker = stack.enter_context(LocalRedis())
        proxy = stack.enter_context(Proxy(broker.port))
        database_url = postgres.create_database("drills")
        migrate.upgrade(database_url)
        running = stack.enter_context(
            service(database_url, broker.url, logs, cruel, {**TIMES, "REDIS_URL": proxy.url})
        )
        drill = Drill(running, proxy, postgres, broker, figures)
        running.start_webhook()
        running.start_beat()
        drill.workers.append(drill.start_worker())
        yield drill
        postgres.start()
        broker.start()
        running.processes.terminate_all(_STOP_SECONDS)
