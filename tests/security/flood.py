"""`python -m tests.security.flood`: unsigned callbacks in masses, and signed ones in between.

A real gunicorn, Redis and PostgreSQL on this machine; loopback alone, bounded in time. Exit code 1
if the flood did not reach its rate, if a signed callback was not accepted, if anything reached the
database, or if more than the bounded hints got past the webhook.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import redis
from rich.console import Console

from devstack.ports import free_port
from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from shared.contract import QUEUE_RECONCILE
from shared.storage import migrate
from tests.security.load_generator import HOST, Tally, flood
from tests.security.steady_traffic import Signed, ask, send_signed
from tests.support.webhook import ACCOUNT, FORM, KEY, PATH, fields

HINTS = 30
_LEAST_SECONDS = 3
_MOST_SECONDS = 120
_MOST_RATE = 20_000
_HEAD_START_SECONDS = 1
_ENOUGH = 0.99
"""Of the rate, a turn of the flood being lost at its end."""
_CONSOLE = Console(soft_wrap=True)


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
    parser = argparse.ArgumentParser(prog="python -m tests.security.flood", description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="unsigned callbacks a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--signed", type=float, default=20, help="signed callbacks a second")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn")
    parser.add_argument("--threads", type=int, default=16, help="of each worker")
    parser.add_argument("--connections", type=int, default=128, help="of the flood, to begin with")
    parser.add_argument("--most-connections", type=int, default=1000, help="where these are full")
    parser.add_argument("--batch", type=int, default=10, help="requests written at once")
    arguments = parser.parse_args()
    arguments.seconds = max(_LEAST_SECONDS, min(arguments.seconds, _MOST_SECONDS))
    arguments.rate = min(arguments.rate, _MOST_RATE)
    with (
        tempfile.TemporaryDirectory(prefix="payouts-flood-") as folder,
        LocalPostgres() as postgres,
        LocalRedis() as broker,
    ):
        migrate.upgrade(postgres.url)
        port = free_port()
        with _sessions_of_others(postgres.url) as sessions:
            with ProcessGroup() as processes:
                log = Path(folder, "webhook.log")
                _start(processes, port, postgres.url, broker.url, log, arguments)
                tally, sent = _play(port, arguments)
                before = _cpu_seconds_of_children()
            spent = _cpu_seconds_of_children() - before
        return _judge(arguments, tally, sent, broker.url, sessions[0], spent)


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
    wait_for(partial(_is_up, port), 60, "the webhook")


def _is_up(port: int) -> bool:
    try:
        return ask(port, "GET", "/healthz", None)[0] == 200
    except OSError:
        return False


def _play(port: int, arguments: argparse.Namespace) -> tuple[Tally, Signed]:
    """Flood from a process of its own; send signed callbacks from this one meanwhile."""
    bad = [forged(number) for number in range(5000)]
    shape = (arguments.connections, arguments.most_connections, arguments.batch)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        flooding = pool.apply_async(flood, (port, bad, arguments.rate, arguments.seconds, *shape))
        time.sleep(_HEAD_START_SECONDS)
        sent = send_signed(port, arguments.signed, arguments.seconds - _HEAD_START_SECONDS - 1)
        return flooding.get(timeout=_MOST_SECONDS), sent


def _cpu_seconds_of_children() -> float:
    """Of those that ended, and of their children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _sessions_of_others(url: str) -> Iterator[list[int]]:
    """How many sessions others began in the database inside this block; known at its end."""
    found: list[int] = []
    with psycopg.connect(url, autocommit=True) as connection:
        before = _sessions(connection)
        yield found
        found.append(_sessions(connection) - before)


def _sessions(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
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
    arguments: argparse.Namespace,
    tally: Tally,
    sent: Signed,
    redis_url: str,
    sessions: int,
    spent: float,
) -> int:
    queue = _queue(redis_url)
    answered = sum(tally.answers.values())
    tell = _CONSOLE.print
    tell(
        f"gunicorn: {arguments.workers} workers, {arguments.threads} threads each;"
        f" {spent:.1f} s of CPU, its start included"
    )
    tell(
        f"flood: {tally.offered} offered in {tally.seconds:.1f} s"
        f" ({tally.offered / tally.seconds:.0f}/s) over {tally.connections} connections,"
        f" {tally.broken} of them ended by the webhook; {tally.stuck_bytes} bytes never left"
        f" the sender; {tally.cpu_seconds:.1f} s of CPU"
    )
    tell(
        f"{answered} answered meanwhile ({answered / tally.seconds:.0f}/s):"
        f" {dict(sorted(tally.answers.items()))}; {tally.offered - answered} left waiting"
    )
    tell(
        f"signed meanwhile: {sent.accepted} of {len(sent.latencies)} accepted"
        f"{f', others {dict(sent.others)}' if sent.others else ''};"
        f" p50 {sent.percentile(0.5):.0f} ms, p99 {sent.percentile(0.99):.0f} ms,"
        f" slowest {sent.percentile(1):.0f} ms"
    )
    tell(f"queue: {queue[True]} believed, {queue[False]} hints (at most {HINTS} a minute)")
    tell(f"database: {sessions} sessions of the webhook")
    due = arguments.rate * arguments.seconds
    windows = 1 + int(arguments.seconds // 60) + 1
    faults = [
        fault
        for fault, is_so in {
            "the flood did not reach its rate": tally.offered < due * _ENOUGH,
            "a signed callback was not accepted": sent.accepted < len(sent.latencies),
            "the queue does not hold what was accepted": queue[True] != sent.accepted,
            "more hints than the budget": queue[False] > HINTS * windows,
            "the flood reached the database": sessions > 0,
            "a 5xx": any(code >= 500 for code in tally.answers),
        }.items()
        if is_so
    ]
    tell(f"FAILED: {'; '.join(faults)}" if faults else "All signed callbacks were accepted.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
