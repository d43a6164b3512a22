"""`/healthz`, `/readyz`, `/metrics`: whether this process lives, can work, and what it counted."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.settings import Settings
from webhook.broker import Broker, BrokerAway


class Health:
    """What the probes look at."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._settings = settings
        self._broker = broker

    def broken(self) -> dict[str, str]:
        """What keeps this process from taking callbacks, by part; empty when nothing does."""
        try:
            self._broker.ping()
        except BrokerAway:
            return {"broker": "Redis does not answer"}
        return {}


def blueprint(health: Health) -> Blueprint:
    """The routes of the probes."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return Response("ok", content_type="text/plain; charset=utf-8")

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        broken = health.broken()
        return jsonify(ready=not broken, **broken), 503 if broken else 200

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    return routes
