"""`/healthz`, `/readyz`, `/metrics`: whether this process lives, can work, and what it counted."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from shared import vitals
from shared.clock import utcnow
from shared.database import make_engine
from shared.settings import Settings
from webhook.broker import Broker, BrokerAway


class Health:
    """What the probes look at."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._broker = broker
        url = settings.database_url
        self._engine = make_engine(url, pool_size=1, statement_timeout_seconds=3) if url else None

    def broken(self) -> dict[str, str]:
        """What keeps this process from taking callbacks, by part; empty when nothing does."""
        try:
            self._broker.ping()
        except BrokerAway:
            return {"broker": "Redis does not answer"}
        return {}

    def vitals(self) -> dict[str, float | int | str | None]:
        """How the service as a whole does, if this process may look into the database.

        No reason to send callbacks elsewhere: they are taken all the same.
        """
        if self._engine is None:
            return {}
        try:
            vital = vitals.read(self._engine, utcnow())
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
        facts = {"ready": not broken, **broken, **health.vitals()}
        return jsonify(facts), 503 if broken else 200

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    return routes
