"""Where a benchmark plays: PostgreSQL and Redis out of wheels, the stub gateway, worker processes.

Everything listens on 127.0.0.1 or a unix socket, and nothing of this machine's settings is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis
import requests

from bench.payloads import ACCOUNT, API_KEY
from bench.stub_gateway import BASE_PATH, HOST
from devstack.ports import free_port
from devstack.postgres import LocalPostgres
from devstack.process import ChildProcess
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from shared.storage import migrate

_START_SECONDS = 60
_RUN_SECONDS = 300
_HELD = "bench.held_back"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_POSTGRES = {"max_connections": "200", "shared_buffers": "512MB", "max_wal_size": "8GB"}
"""Beside PostgreSQL's own defaults: every commit is on disk before it counts."""


@dataclass
class Gateway:
    """A running stub."""

    process: ChildProcess
    port: int

    @property
    def base_url(self) -> str:
        """What EPAY_BASE_URL is set to."""
        return f"http://{HOST}:{self.port}{BASE_PATH}"

    def answered(self) -> int:
        """Creates and queries that it has answered so far."""
        count: dict[str, int] = requests.get(f"http://{HOST}:{self.port}/count", timeout=5).json()
        return sum(count.values())


@dataclass
class Stage:
    """The running servers, and a place for processes and their logs."""

    postgres: LocalPostgres
    redis: LocalRedis
    processes: ProcessGroup
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a database of our own, dropped afterwards."""
        name = f"bench_{next(self._numbers)}"
        url = self.postgres.create_database(name)
        try:
            if migrated:
                migrate.upgrade(url)
            yield url
        finally:
            self.postgres.drop_database(name)

    def flush(self) -> None:
        """Empty Redis."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()

    @contextmanager
    def held_back(self, queue: str, consumers: int) -> Iterator[None]:
        """What is on the queue is not there inside the block, nor until so many wait for it."""
        with redis.Redis.from_url(self.redis.url) as client:
            if client.exists(queue):
                client.rename(queue, _HELD)
            yield
            wait_for(lambda: _waiting(client) >= consumers, _START_SECONDS, "workers to wait")
            if client.exists(_HELD):
                client.rename(_HELD, queue)

    @contextmanager
    def gateway(self, latency: float, query_status: str = "1") -> Iterator[Gateway]:
        """A fresh stub gateway, which answers after `latency` seconds."""
        port = free_port()
        argv = [sys.executable, "-m", "bench.stub_gateway", "--port", str(port)]
        options = ["--latency", str(latency), "--query-status", query_status]
        with self.process("stub", [*argv, *options], self.environment()) as process:
            gateway = Gateway(process, port)
            wait_for(partial(_answers, gateway), _START_SECONDS, "the stub gateway")
            yield gateway

    @contextmanager
    def process(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], ready: str | None = None
    ) -> Iterator[ChildProcess]:
        """A process, ended at the end; `ready` is what its log says once it is up.

        Raises:
            RuntimeError: it ended before it was ready; the text has the end of its log.
        """
        name = f"{name}-{next(self._numbers)}"
        log = self.folder / f"{name}.log"
        # from a folder without a .env, whose settings would be ours
        process = self.processes.start(name, argv, env=env, log_path=log)
        try:
            if ready:
                wait_for(partial(_says, process, ready), _START_SECONDS, f"{name} to be ready")
            yield process
        finally:
            self.processes.stop(name, grace=30)

    @staticmethod
    def python(module: str, *options: str) -> list[str]:
        """The command line of one of our modules."""
        return [sys.executable, "-m", module, *options]

    def finished(self, module: str, env: Mapping[str, str], *options: str) -> str:
        """Run a module to its end; what it printed.

        Raises:
            RuntimeError: it failed; the text has what it said.
        """
        done = subprocess.run(
            self.python(module, *options),
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
        return done.stdout

    def parts(self, gateway: Gateway, workers: Sequence[ChildProcess]) -> dict[str, list[int]]:
        """Whose CPU is noted, by part."""
        return {
            "worker": [worker.pid for worker in workers],
            "postgres": [self.postgres.pid],
            "redis": [self.redis.pid],
            "stub": [gateway.process.pid],
        }

    def environment(self, **more: str) -> dict[str, str]:
        """The whole environment of a process: nothing of ours but where programs are."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        root = str(Path(__file__).resolve().parents[1])
        return {**kept, "PYTHONPATH": root, "REDIS_URL": self.redis.url, **more}

    def service_environment(
        self, database_url: str, gateway_url: str, concurrency: int, **more: str
    ) -> dict[str, str]:
        """The environment of our own processes."""
        return self.environment(
            DATABASE_URL=database_url,
            EPAY_BASE_URL=gateway_url,
            EPAY_ACCOUNT=ACCOUNT,
            EPAY_API_KEY=API_KEY,
            WORKER_CONCURRENCY=str(concurrency),
            **more,
        )

    def plain_environment(
        self, database_url: str, gateway_url: str, concurrency: int
    ) -> dict[str, str]:
        """The environment of floors and peers."""
        return self.environment(
            DATABASE_URL=database_url,
            BENCH_GATEWAY_URL=gateway_url,
            BENCH_CONCURRENCY=str(concurrency),
        )


def celery_worker(
    app: str,
    queues: str,
    concurrency: int,
    name: str = "bench",
    pool: str = "threads",
    prefetch: int = 1,
) -> list[str]:
    """The command line of a worker, the same for all variants."""
    return [
        *(sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@bench"),
        *("-Q", queues, "-P", pool, "-c", str(concurrency)),
        *("--prefetch-multiplier", str(prefetch)),
        *("--without-gossip", "--without-mingle"),
    ]


@contextmanager
def a_stage() -> Iterator[Stage]:
    """Start PostgreSQL and Redis; everything ends with the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="payouts-bench-")))
        before = Path.cwd()
        stack.callback(os.chdir, before)
        os.chdir(folder)  # children start here, where no .env is
        postgres = stack.enter_context(LocalPostgres(settings=_POSTGRES))
        broker = stack.enter_context(LocalRedis())
        processes = stack.enter_context(ProcessGroup())
        yield Stage(postgres, broker, processes, folder)


def _waiting(client: redis.Redis) -> int:
    """Connections that wait for a message."""
    return sum(one["cmd"] in {"brpop", "blmove"} for one in client.client_list())


def _answers(gateway: Gateway) -> bool:
    try:
        return gateway.answered() == 0
    except requests.ConnectionError:
        return False


def _says(process: ChildProcess, words: str) -> bool:
    text = process.log_path.read_text(errors="replace")
    if process.returncode is not None:
        raise RuntimeError(f"{process.name} ended at once:\n{text[-3000:]}")
    return words in text
