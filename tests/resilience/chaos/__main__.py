"""`make chaos`: about four minutes; a table, and exit code 1 if a law was broken."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.storage import migrate
from shared.storage.engine import make_engine
from tests.resilience.chaos.audit import Books, count, open_payouts
from tests.resilience.chaos.client_app import DurableClient
from tests.resilience.chaos.environment import start
from tests.resilience.chaos.process_killer import Monkey

_SETTLED_WITHIN = 120.0
_CONSOLE = Console()


def main() -> int:
    """Run the storm, wait for calm, count."""
    parser = argparse.ArgumentParser(prog="python -m tests.resilience.chaos", description=__doc__)
    parser.add_argument("--payouts", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=170, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--servers", choices=("all", "redis", "none"), default="all", help="which servers go away"
    )
    parser.add_argument("--logs", type=Path, help="keep all logs in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="payouts-chaos-") as folder:
        logs = Path(folder)
        try:
            return _storm(arguments, logs)
        finally:
            if arguments.logs is not None:
                shutil.copytree(logs, arguments.logs, dirs_exist_ok=True)


def _storm(arguments: argparse.Namespace, logs: Path) -> int:
    payouts, seconds, seed = arguments.payouts, arguments.seconds, arguments.seed
    _CONSOLE.print(f"{payouts} payouts, {seconds:.0f} s of faults, seed {seed}")
    config = SandboxConfig(
        duplicates=Duplicates.PAY, callback_scale=0.05, silence_seconds=8, pay_after=0.5
    )
    with (
        LocalPostgres() as postgres,
        LocalRedis() as redis,
        Gateway(config) as gateway,
        ProcessGroup() as processes,
    ):
        migrate.upgrade(postgres.url)
        start(processes, postgres, redis, gateway, logs)
        engine = make_engine(postgres.url, pool_size=1)
        client_app = DurableClient(redis.url, payouts, per_second=payouts / (seconds * 0.85))
        monkey = Monkey(processes, postgres, redis, gateway, seconds, seed, arguments.servers)
        client_app.start()
        monkey.start()
        monkey.join()
        calm = time.monotonic()
        settled = _wait(lambda: client_app.all_asked and not open_payouts(engine), _SETTLED_WITHIN)
        took = time.monotonic() - calm
        _wait(lambda: not client_app.unanswered, 60)
        client_app.stop()
        books = count(engine, client_app.orders, gateway.ledger()["orders"], client_app.ends)
        engine.dispose()
    if not settled:
        books.broken.append(f"{books.open} payouts still open {took:.0f} s after the last fault")
    _tell(books, monkey, client_app, took)
    return 1 if books.broken else 0


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return False


def _tell(books: Books, monkey: Monkey, client_app: DurableClient, took: float) -> None:
    table = Table(title="Chaos", show_header=False)
    for name, times in sorted(monkey.did.items()):
        table.add_row(name, str(times))
    table.add_section()
    table.add_row("asked for", str(books.asked))
    table.add_row("asked for again (no answer)", str(client_app.asked_again))
    for status, number in sorted(books.by_status.items()):
        table.add_row(f"  {status}", str(number))
    table.add_section()
    table.add_row("paid once", str(books.paid_once))
    table.add_row("paid twice", str(len(books.paid_twice)))
    table.add_row("lost", str(len(books.lost)))
    table.add_row("ends that are not true", str(len(books.contradicting)))
    table.add_row("told wrongly or not", str(len(books.mistold)))
    table.add_row("in review", str(dict(books.in_review) or 0))
    table.add_row("settled after the last fault", f"{took:.0f} s")
    table.add_row("crash to re-claim, median and longest", _spread(books.reclaim_seconds))
    table.add_row("age of an unknown, median and longest", _spread(books.unknown_seconds))
    _CONSOLE.print(table)
    for words in books.broken[:50]:
        _CONSOLE.print(f"BROKEN: {words}")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{values[len(values) // 2]:.1f} s, {values[-1]:.1f} s ({len(values)} times)"


if __name__ == "__main__":
    sys.exit(main())
