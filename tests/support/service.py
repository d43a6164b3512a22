"""The whole service as real processes, and a requesting app that imports nothing of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
import requests
from celery import Celery
from kombu import Connection, Consumer, Queue
from psycopg.rows import namedtuple_row

from devstack.ports import free_port
from devstack.process_group import ProcessGroup
from devstack.wait import wait_for
from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.epay.callbacks import sign_callback
from shared.epay.signing import NestedForm
from shared.messaging.celery_config import UNACKED_KEYS
from tests.support.factories import request_kwargs
from tests.support.paths import PROGRAMS

ACCOUNT = "test2020@epay.com"
API_KEY = "TESTKEY123"
NOT_FOUND = "2001"
REFUSED = "2005"
OUTCOME_TASK = "shop.payout_outcome"
OUTCOME_QUEUE = "shop"
QUEUES = ("payouts", "payouts.submit", "payouts.bulk", "payouts.reconcile", "payouts.notify")

SHORT = {
    "EPAY_NOT_FOUND_CODES": NOT_FOUND,
    "EPAY_REFUSED_CODES": REFUSED,
    "EPAY_SETTLE_SECONDS": "9",
    "EPAY_QUERY_BACKOFF": "1,1,2",
    "EPAY_LEASE_SECONDS": "6",
    "EPAY_CONNECT_TIMEOUT": "1",
    "EPAY_READ_TIMEOUT": "2",
    "EPAY_TOTAL_TIMEOUT": "3",
    "BREAKER_PAUSE_SECONDS": "0.2",
    "BREAKER_LONGEST_PAUSE_SECONDS": "0.5",
    "SWEEP_SECONDS": "0.5",
}
"""Days in seconds: what the service is started with, beside its addresses."""

START_SECONDS = 90
STOP_SECONDS = 60


def bare_environment() -> dict[str, str]:
    """What a process needs to run at all, to be measured, and to share a faked clock.

    No setting of the service.
    """
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "TZ"}
    prefixes = ("COVERAGE_", "LD_", "DATEFUDGE", "FAKETIME")  # the last three fake a clock
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(prefixes)
    }


@dataclass
class Service:
    """The running service and its surroundings, as an operator and a gateway see them."""

    environment: Mapping[str, str]
    database_url: str
    redis_url: str
    gateway: Gateway
    webhook_port: int
    processes: ProcessGroup
    logs: Path
    client_app: Celery
    _workers: int = 0

    @property
    def callback_url(self) -> str:
        """Where EPAY sends callbacks."""
        return f"http://127.0.0.1:{self.webhook_port}/epay/callback"

    def start_worker(self, *options: str, queues: tuple[str, ...] = QUEUES) -> str:
        """Start one more worker, for all queues unless told, and wait until it works; its name."""
        self._workers += 1
        name = f"worker{self._workers}"
        command = [str(PROGRAMS / "celery"), "-A", "worker", "worker"]
        command += ["-Q", ",".join(queues), "-P", "threads", "-c", "32", "-n", f"{name}@%h"]
        self._start(name, [*command, *options])
        wait_for(lambda: self._worker_is_ready(name), START_SECONDS, f"{name} to be ready")
        return name

    def start_beat(self) -> None:
        """Start the clock."""
        self._start("beat", [str(PROGRAMS / "celery"), "-A", "worker", "beat"])

    def start_webhook(self) -> None:
        """Start the HTTP edge and wait until it can work."""
        command = [str(PROGRAMS / "gunicorn"), "--worker-class", "gthread", "--threads", "16"]
        command += ["--bind", f"127.0.0.1:{self.webhook_port}", "--no-control-socket"]
        self._start("webhook", [*command, "webhook:create_app()"])
        wait_for(self._webhook_is_ready, START_SECONDS, "the webhook to be ready")

    def _start(self, name: str, command: list[str]) -> None:
        path = self.logs / f"{name}.log"
        self.processes.start(name, command, env=self.environment, log_path=path)

    def _worker_is_ready(self, name: str) -> bool:
        process = self.processes[name]
        assert process.returncode is None, f"{name} has ended: {process.log_tail()}"
        return " ready." in self.log(name)

    def _webhook_is_ready(self) -> bool:
        try:
            return requests.get(self.callback_url.replace("epay/callback", "readyz"), timeout=60).ok
        except requests.RequestException:
            return False

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.logs / f"{name}.log").read_text()

    def ask(self, order_no: str, **changes: Any) -> str:
        """Ask for a payout with plain celery; the message's id."""
        return send(self.client_app, request_kwargs(order_no) | changes)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Read from the service's database."""
        with psycopg.connect(self.database_url, row_factory=namedtuple_row) as connection:
            return connection.execute(statement, values).fetchall()

    def row(self, order_no: str) -> Any:
        """The payout as it stands, or None."""
        rows = self.sql("SELECT * FROM payout WHERE merchant_order_no = %s", order_no)
        assert len(rows) <= 1, f"{len(rows)} rows for {order_no}"
        return rows[0] if rows else None

    def events(self, order_no: str) -> list[Any]:
        """The payout's story in order."""
        return self.sql(
            "SELECT e.* FROM payout_event e JOIN payout p ON p.id = e.payout_id"
            " WHERE p.merchant_order_no = %s ORDER BY e.sequence",
            order_no,
        )

    def wait_for_status(self, order_no: str, status: str, timeout: float = 60) -> Any:
        """The payout's row, once it has that status."""

        def found() -> Any:
            row = self.row(order_no)
            return row if row is not None and row.status == status else None

        return wait_for(found, timeout, f"{order_no} to be {status}")

    def ledger_of(self, order_no: str) -> dict[str, Any]:
        """What the gateway did under that number."""
        return dict(self.gateway.ledger()["orders"].get(order_no, {"creates_received": 0}))

    def callback(self, order_no: str, **changes: str) -> dict[str, str]:
        """A rightly signed callback that says 7 (paid) of a payout for 10.50 USD."""
        order = self.gateway.book.find(order_no)
        fields = {
            "epayAccount": ACCOUNT,
            "merchantOrderNo": order_no,
            "epayOrderNo": order.epay_order_no if order else "176000000000000000000001",
            "amount": "10.50",
            "settlementCurrency": "USD",
            "fee": "0.10",
            "status": "7",
            "pinCode": "",
            **changes,
        }
        return fields | {"sign": sign_callback(fields, API_KEY, NestedForm.COMMA)}

    def post(self, fields: Mapping[str, str]) -> requests.Response:
        """Post a callback to the webhook as EPAY does."""
        return requests.post(self.callback_url, data=dict(fields), timeout=60)

    def waiting(self) -> dict[str, int]:
        """How many messages wait in each queue, and how many are in a worker's hands."""
        with redis.Redis.from_url(self.redis_url) as client:
            lengths = {name: int(client.llen(name)) for name in QUEUES}
            return lengths | {"unacked": int(client.hlen(UNACKED_KEYS["unacked_key"]))}

    def wait_until_idle(self, timeout: float = 60) -> None:
        """Wait until no message waits or is being worked on."""
        wait_for(lambda: not any(self.waiting().values()), timeout, "all queues to be empty")


def send(app: Celery, kwargs: Mapping[str, Any]) -> str:
    """Do what a requesting app does; the message's id."""
    return str(app.send_task("payouts.request", kwargs=dict(kwargs), queue="payouts").id)


@contextmanager
def service(
    database_url: str,
    redis_url: str,
    folder: Path,
    gateway: SandboxConfig,
    settings: Mapping[str, str],
) -> Iterator[Service]:
    """The surroundings of the service, and no process of it yet; all processes end with it."""
    with ExitStack() as stack:
        running = stack.enter_context(Gateway(gateway))
        webhook_port = free_port()
        processes = stack.enter_context(ProcessGroup(grace=STOP_SECONDS))
        client_app = Celery("asker", broker=redis_url, set_as_current=False)
        stack.callback(client_app.close)
        environment = bare_environment() | {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EPAY_BASE_URL": running.base_url,
            "EPAY_ACCOUNT": ACCOUNT,
            "EPAY_API_KEY": API_KEY,
            "EPAY_NOTIFY_URL": f"http://127.0.0.1:{webhook_port}/epay/callback",
            **settings,
        }
        yield Service(
            environment,
            database_url,
            redis_url,
            running,
            webhook_port,
            processes,
            folder,
            client_app,
        )


@dataclass
class Outcomes:
    """What the requesting app hears, by order number: a consumer of its own queue."""

    redis_url: str
    queue: str = OUTCOME_QUEUE
    heard: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="outcomes")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def of(self, order_no: str) -> list[dict[str, Any]]:
        """The messages about one order, as they came."""
        return [heard for heard in list(self.heard) if heard["merchant_order_no"] == order_no]

    def wait_for(self, order_no: str, count: int, timeout: float = 60) -> list[dict[str, Any]]:
        """The messages about one order, once there are so many."""

        def enough() -> list[dict[str, Any]] | None:
            found = self.of(order_no)
            return found if len(found) >= count else None

        return wait_for(enough, timeout, f"{count} message(s) about {order_no}")

    def _listen(self) -> None:
        queue = Queue(self.queue, routing_key=self.queue)
        with (
            Connection(self.redis_url) as connection,
            Consumer(connection, [queue], callbacks=[self._hear], accept=["json"]),
        ):
            while not self._stop.is_set():
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    def _hear(self, body: Any, message: Any) -> None:
        assert message.headers["task"] == OUTCOME_TASK
        self.heard.append(body[1])
        message.ack()
