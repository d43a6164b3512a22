"""`python -m tests.edge.flood`: unsigned callbacks in masses, and signed ones in between.

A real gunicorn, Redis and PostgreSQL on this machine; loopback alone, bounded in time. Exit code 1
if a signed callback was not accepted, or if more than the bounded hints got past the webhook.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import redis
from rich.console import Console

from ops.local.ports import free_port
from ops.local.postgres import LocalPostgres
from ops.local.processes import ProcessGroup
from ops.local.readiness import wait_for
from ops.local.redis import LocalRedis
from shared import migrate
from shared.contract import QUEUE_RECONCILE
from tests.edge.load import HOST, Tally, flood
from tests.edge.support import ACCOUNT, FORM, KEY, PATH, fields, signed

HINTS = 30
_MOST_SECONDS = 120
_MOST_RATE = 20_000
_CONSOLE = Console(soft_wrap=True)


@dataclass
class Signed:
    """What became of the callbacks that EPAY signed."""

    answers: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the requests stayed below."""
        ranked = sorted(self.latencies)
        return ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000


def forged(number: int) -> bytes:
    """One callback of the flood: unsigned, wrongly signed or rubbish, each for another order."""
    rng = random.Random(number)
    body = fields(merchantOrderNo=f"forged-{number}")
    if rng.random() < 0.5:
        body["sign"] = f"{rng.randrange(16**64):064X}"
    return _request(urlencode(body) if rng.random() < 0.95 else "\x00" * 300)


def _request(body: str) -> bytes:
    lines = (
        f"POST {PATH} HTTP/1.1",
        f"Host: {HOST}",
        f"Content-Type: {FORM}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", body]).encode()


def main() -> int:
    """Flood the webhook, count, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.edge.flood", description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="unsigned callbacks a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--signed", type=float, default=20, help="signed callbacks a second")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn")
    parser.add_argument("--threads", type=int, default=16, help="of each worker")
    parser.add_argument("--connections", type=int, default=64, help="of the flood, kept alive")
    arguments = parser.parse_args()
    arguments.seconds = min(arguments.seconds, _MOST_SECONDS)
    arguments.rate = min(arguments.rate, _MOST_RATE)
    with (
        tempfile.TemporaryDirectory(prefix="payouts-flood-") as folder,
        LocalPostgres() as postgres,
        LocalRedis() as broker,
        ProcessGroup() as processes,
    ):
        migrate.upgrade(postgres.url)
        port = free_port()
        _start(processes, port, postgres.url, broker.url, Path(folder, "webhook.log"), arguments)
        tally, sent = _play(port, arguments)
        return _judge(arguments, tally, sent, broker.url, _database_clients(postgres.url))


def _start(
    processes: ProcessGroup,
    port: int,
    database_url: str,
    redis_url: str,
    log: Path,
    arguments: argparse.Namespace,
) -> None:
    command = [sys.executable, "-m", "gunicorn", "webhook:create_app()", "--no-control-socket"]
    command += ["--bind", f"{HOST}:{port}", "--workers", str(arguments.workers)]
    command += ["--worker-class", "gthread", "--threads", str(arguments.threads)]
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": KEY,
        "CALLBACK_HINTS_PER_MINUTE": str(HINTS),
        "LOG_FORMAT": "json",
    }
    processes.start("webhook", command, env=environment, log_path=log)
    wait_for(partial(_is_up, port), 30, "the webhook")


def _is_up(port: int) -> bool:
    try:
        return _ask(port, "GET", "/healthz", None)[0] == 200
    except OSError:
        return False


def _ask(port: int, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": FORM} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _play(port: int, arguments: argparse.Namespace) -> tuple[Tally, Signed]:
    """Flood from a process of its own; send signed callbacks from this one meanwhile."""
    bad = [forged(number) for number in range(5000)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        flooding = pool.apply_async(
            flood, (port, bad, arguments.rate, arguments.seconds, arguments.connections)
        )
        time.sleep(1)
        sent, begun = Signed(), time.monotonic()
        for number in range(int((arguments.seconds - 1) * arguments.signed)):
            time.sleep(max(0.0, begun + number / arguments.signed - time.monotonic()))
            if flooding.ready():
                break
            asked = time.monotonic()
            body = urlencode(signed(merchantOrderNo=f"true-{number}"))
            status, said = _ask(port, "POST", PATH, body)
            sent.latencies.append(time.monotonic() - asked)
            sent.answers[status] += said == b"success"
        return flooding.get(timeout=_MOST_SECONDS), sent


def _database_clients(url: str) -> int:
    """Connections of others to PostgreSQL; the webhook would keep the one that it ever made."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _queue(url: str) -> Counter[bool]:
    """How many messages wait for the workers, by whether they are believed."""
    with redis.Redis.from_url(url) as server:
        raw = server.lrange(QUEUE_RECONCILE, 0, -1)
    bodies = (json.loads(base64.b64decode(json.loads(message)["body"])) for message in raw)
    return Counter(kwargs["verified"] for _, kwargs, _ in bodies)


def _judge(
    arguments: argparse.Namespace, tally: Tally, sent: Signed, redis_url: str, connections: int
) -> int:
    queue = _queue(redis_url)
    answered = sum(tally.answers.values())
    tell = _CONSOLE.print
    tell(f"gunicorn: {arguments.workers} workers, {arguments.threads} threads each")
    tell(
        f"flood: {tally.offered} offered in {tally.seconds:.1f} s"
        f" ({tally.offered / tally.seconds:.0f}/s), {tally.sent} taken, {answered} answered"
        f" ({answered / tally.seconds:.0f}/s): {dict(sorted(tally.answers.items()))},"
        f" {tally.broken} without an answer"
    )
    tell(
        f"signed meanwhile: {sum(sent.answers.values())} of {len(sent.latencies)} accepted;"
        f" p50 {sent.percentile(0.5):.0f} ms, p99 {sent.percentile(0.99):.0f} ms,"
        f" slowest {sent.percentile(1):.0f} ms"
    )
    tell(f"queue: {queue[True]} believed, {queue[False]} hints (at most {HINTS} a minute)")
    tell(f"database: {connections} connections of the webhook")
    windows = 1 + int(arguments.seconds // 60) + 1
    faults = [
        fault
        for fault, is_so in {
            "a signed callback was not accepted": sent.answers != {200: len(sent.latencies)},
            "the queue does not hold what was accepted": queue[True] != sent.answers[200],
            "more hints than the budget": queue[False] > HINTS * windows,
            "the flood reached the database": connections > 0,
            "a 5xx": any(code >= 500 for code in tally.answers),
        }.items()
        if is_so
    ]
    tell(f"FAILED: {'; '.join(faults)}" if faults else "All signed callbacks were accepted.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
