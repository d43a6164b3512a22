"""floor-query: bare Celery, one task for each status query; no database, nothing is checked."""

from __future__ import annotations

from bench.bare_celery import CONCURRENCY, URL, plain_celery
from bench.http_session import pooled_session
from bench.payloads import HEADERS, QUERY

TASK = "floor.query"

app = plain_celery("floor_query")
_session = pooled_session(CONCURRENCY)


@app.task(name=TASK)
def query(body: str) -> None:
    """Post it."""
    _session.post(URL + QUERY, data=body, headers=HEADERS, timeout=(3, 20)).raise_for_status()
