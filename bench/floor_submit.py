"""floor-submit: bare Celery that posts a body made beforehand; no database, nothing is checked."""

from __future__ import annotations

from bench.bare_celery import CONCURRENCY, URL, plain_celery
from bench.http_session import pooled_session
from bench.payloads import CREATE, HEADERS

TASK = "floor.submit"

app = plain_celery("floor_submit")
_session = pooled_session(CONCURRENCY)


@app.task(name=TASK)
def submit(body: str) -> None:
    """Post it."""
    _session.post(URL + CREATE, data=body, headers=HEADERS, timeout=(3, 20)).raise_for_status()
