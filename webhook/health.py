"""`/healthz`, `/readyz`, `/metrics`: whether this process lives, can work, and what it counted."""

from __future__ import annotations

import threading
import time

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import utcnow
from shared.config.settings import Settings
from shared.observability import health
from shared.storage.engine import make_engine
from webhook.metrics import exposition
from webhook.shared_redis import BrokerAway, SharedRedis

_FRESH_SECONDS = 1.0


class Health:
    """What the probes look at."""

    def __init__(self, settings: Settings, redis: SharedRedis) -> None:
        self._redis = redis
        url = settings.database_url
        self._engine = make_engine(url, pool_size=1, statement_timeout_seconds=3) if url else None
        self._lock = threading.Lock()
        self._vitals: tuple[float, dict[str, float | int | str | None]] | None = None

    def broken(self) -> dict[str, str]:
        """What keeps this process from taking callbacks, by part; empty when nothing does."""
        try:
            self._redis.ping()
        except BrokerAway:
            return {"broker": "Redis does not answer"}
        return {}

    def metrics_snapshot(self) -> dict[str, float | int | str | None]:
        """How the service as a whole does, if this process may look into the database.

        No reason to send callbacks elsewhere: they are taken all the same. The database is asked
        once a second at most, whoever looks how often.
        """
        if self._engine is None:
            return {}
        with self._lock:
            now = time.monotonic()
            if self._vitals is None or now - self._vitals[0] > _FRESH_SECONDS:
                self._vitals = now, self._read(self._engine)
            return self._vitals[1]

    def _read(self, engine: Engine) -> dict[str, float | int | str | None]:
        try:
            vital = health.read(engine, utcnow())
        except SQLAlchemyError:
            return {"database": "does not answer"}
        return {
            "sweep_age_seconds": vital.sweep_age,
            "oldest_due_seconds": vital.oldest_due,
            "oldest_untold_seconds": vital.oldest_untold,
            "in_review": vital.in_review,
        }


def blueprint(health: Health) -> Blueprint:
    """The routes of the probes."""
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
