"""peer-procrastinate: the durable job on procrastinate, whose queue is PostgreSQL itself.

`python -m bench.peer_procrastinate` works until it is stopped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from bench.bare_celery import CONCURRENCY, QUEUE
from bench.payloads import request_kwargs
from bench.peer_common import pay

_URL = os.environ.get("DATABASE_URL", "")

app = App(connector=PsycopgConnector(conninfo=_URL, min_size=2, max_size=10))


@app.task(queue=QUEUE, name="peer.pay")
def pay_task(**asked: str) -> None:
    """Do it, in a thread: procrastinate's own loop is not held up."""
    pay(dict(asked))


def enqueue(database_url: str, order_nos: Iterable[str]) -> None:
    """Make procrastinate's tables and put the jobs into them."""
    connector = SyncPsycopgConnector(conninfo=database_url)
    with app.replace_connector(connector) as deferring, deferring.open():
        deferring.schema_manager.apply_schema()
        asked: list[dict[str, Any]] = [request_kwargs(order_no) for order_no in order_nos]
        deferring.tasks["peer.pay"].batch_defer(*asked)


async def _work() -> None:
    # the threads that synchronous tasks run in; asyncio's own default is a handful
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))
    async with app.open_async():
        await app.run_worker_async(queues=[QUEUE], concurrency=CONCURRENCY)


if __name__ == "__main__":
    asyncio.run(_work())
