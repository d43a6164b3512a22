"""A big batch: 100,000 rows checked; and a batch that is interrupted, run again, and paid.

BATCH_ROWS says how many rows are paid: 3,000 without it, 100,000 take a quarter of an hour.
BATCH_SEED repeats where it was interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from devstack.wait import wait_for
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.storage import migrate
from shared.storage.engine import make_engine
from tests.resilience.chaos.environment import SETTINGS, start
from tests.support.batch_file import make_batch
from tests.support.paths import PROGRAMS

CHECKED = 100_000
PAID = int(os.environ.get("BATCH_ROWS", "3000"))
SEED = int(os.environ.get("BATCH_SEED", str(time.time_ns())))
SECONDS = 30
MEGABYTES = 200
PAYOUTS = PROGRAMS / "payouts"
_PER_SECOND = 20
"""Slower than any machine that this was run on."""
_MEASURED = """
import pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(used))
sys.exit(code)
"""
"""Runs a command and writes down its memory. A process of its own, and a small one: a child's peak
begins with its parent's."""

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300 + PAID // _PER_SECOND)]


@dataclass
class Scene:
    """Servers, the service before a gateway that pays what it is sent, and the command."""

    processes: ProcessGroup
    gateway: Gateway
    engine: Engine
    environment: dict[str, str]
    folder: Path

    def count(self, condition: str = "true") -> int:
        with self.engine.connect() as connection:
            found = connection.execute(text(f"SELECT count(*) FROM payout WHERE {condition}"))
            return int(found.scalar_one())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    config = SandboxConfig(duplicates=Duplicates.PAY, pay_after=0.2, callback_scale=0.05)
    with (
        LocalPostgres() as postgres,
        LocalRedis() as redis,
        Gateway(config) as gateway,
        ProcessGroup() as processes,
    ):
        migrate.upgrade(postgres.url)
        start(processes, postgres, redis, gateway, tmp_path, SETTINGS)
        engine = make_engine(postgres.url, pool_size=1)
        environment = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "EPAY_ACCOUNT": config.account,
        }
        yield Scene(processes, gateway, engine, environment, tmp_path)
        engine.dispose()


def test_a_hundred_thousand_rows_are_checked(database_url: str, tmp_path: Path) -> None:
    """Under 30 s and 200 MB; each of the thousand bad rows by row, column and reason."""
    batch = make_batch(tmp_path / "huge.csv", CHECKED, "huge")
    result = tmp_path / "huge.json"
    environment = {**os.environ, "DATABASE_URL": database_url, "EPAY_ACCOUNT": "test2020@epay.com"}
    used = tmp_path / "used.kb"
    command = [str(PAYOUTS), "batch", str(batch.path), "--json"]
    began = time.monotonic()
    with result.open("wb") as out:
        code = subprocess.call(
            [sys.executable, "-c", _MEASURED, str(used), *command], env=environment, stdout=out
        )
    seconds, megabytes = time.monotonic() - began, int(used.read_text()) / 1024
    log.warning("%d rows: %.1f s, %.0f MB", CHECKED, seconds, megabytes)
    assert code == 1
    said = json.loads(result.read_text())
    assert said["verdicts"] == {"bad": len(batch.bad), "new": len(batch.good)}
    found = {problem["row"]: problem for problem in said["problems"]}
    assert found.keys() == batch.bad.keys()
    for row, (column, reason) in batch.bad.items():
        assert found[row]["column"] == column
        assert reason in found[row]["reason"]
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_interrupted_anywhere_and_run_again_each_is_paid_once(scene: Scene) -> None:
    """Ctrl-C at a random point; the same command again; then the gateway's ledger is counted."""
    log.warning("BATCH_SEED=%d BATCH_ROWS=%d", SEED, PAID)
    batch = make_batch(scene.folder / "paid.csv", PAID, "paid")
    enough = random.Random(SEED).randrange(1, len(batch.good) * 3 // 4)
    command = [str(PAYOUTS), "batch", str(batch.path), "--confirm", "--skip-bad"]
    said = scene.folder / "batch.log"
    scene.processes.start("batch", command, env=scene.environment, log_path=said)
    wait_for(
        lambda: scene.count() >= enough,
        300 + PAID // _PER_SECOND,
        f"{enough} payouts to be accepted",
    )
    scene.processes["batch"].send_signal(signal.SIGINT)
    wait_for(lambda: scene.processes["batch"].returncode is not None, 30, "the batch to end")
    assert scene.processes["batch"].returncode == 130, said.read_text()[-2000:]
    accepted = scene.count()
    log.warning("interrupted at %d, %d were accepted", enough, accepted)
    assert accepted < len(batch.good)
    again = subprocess.run(
        command, env=scene.environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert again.returncode == 1, again.stderr
    assert f"{accepted} already there" in again.stdout
    wait_for(
        lambda: scene.count("status = 'succeeded'") == len(batch.good),
        60 + PAID / _PER_SECOND,
        "every good row to be paid",
    )
    ledger = scene.gateway.ledger()["orders"]
    assert sorted(ledger) == batch.good
    assert {order["payments"] for order in ledger.values()} == {1}
