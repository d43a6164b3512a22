"""peer-orm: the durable job as a Celery task."""

from __future__ import annotations

from bench.peer_job import pay
from bench.plain import plain_celery

TASK = "peer.pay"

app = plain_celery("peer_orm")


@app.task(name=TASK)
def pay_task(**asked: str) -> None:
    """Do it."""
    pay(dict(asked))
