"""`/healthz`, `/readyz`, `/metrics`: liveness, readiness, and counters of this process."""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import utcnow
from shared.config.settings import Settings
from shared.observability import health
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage.engine import make_engine
from webhook.metrics import exposition

_FRESH_SECONDS = 1.0


class Health:
    """What `/readyz` reports."""

    def __init__(self, settings: Settings, redis: RedisClient) -> None:
        self._redis = redis
        url = settings.database_url
        self._engine = make_engine(url, pool_size=1, statement_timeout_seconds=3) if url else None
        self._lock = threading.Lock()
        self._snapshot: tuple[float, dict[str, Any]] | None = None

    def broken(self) -> dict[str, str]:
        """Why this process cannot accept callbacks, by component; empty if it can."""
        try:
            self._redis.ping()
        except RedisUnavailable:
            return {"broker": "Redis does not answer"}
        return {}

    def metrics_snapshot(self) -> dict[str, Any]:
        """The health of the whole service; empty if no DATABASE_URL is set.

        It does not affect readiness: callbacks are accepted without the database. The database is
        queried at most once a second.
        """
        if self._engine is None:
            return {}
        with self._lock:
            now = time.monotonic()
            if self._snapshot is None or now - self._snapshot[0] > _FRESH_SECONDS:
                self._snapshot = now, self._read(self._engine)
            return self._snapshot[1]

    def _read(self, engine: Engine) -> dict[str, Any]:
        try:
            snapshot = health.read(engine, utcnow())
        except SQLAlchemyError:
            return {"database": "does not answer"}
        return {
            "sweep_age_seconds": snapshot.sweep_age,
            "oldest_due_seconds": snapshot.oldest_due,
            "oldest_untold_seconds": snapshot.oldest_unsent,
            "in_review": snapshot.in_review,
            "oldest_open_seconds": snapshot.oldest_open,
            "clock_ahead_seconds": snapshot.clock_ahead,
            **({"clock": " ".join(wrong)} if (wrong := snapshot.clock_problems()) else {}),
        }


def blueprint(health: Health) -> Blueprint:
    """The health and metrics routes."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return Response("ok", content_type="text/plain; charset=utf-8")

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        broken = health.broken()
        facts = {"ready": not broken, **broken, **health.metrics_snapshot()}
        return jsonify(facts), 503 if broken else 200

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(), content_type=CONTENT_TYPE_LATEST)

    return routes
