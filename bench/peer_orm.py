"""peer-orm: the durable job as a Celery task."""

from __future__ import annotations

from bench.bare_celery import plain_celery
from bench.peer_common import pay

TASK = "peer.pay"

app = plain_celery("peer_orm")


@app.task(name=TASK)
def pay_task(**asked: str) -> None:
    """Do it."""
    pay(dict(asked))
