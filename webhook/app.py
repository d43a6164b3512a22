"""The WSGI app, assembled from the settings."""

from __future__ import annotations

import logging
import sys
from http import HTTPStatus

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from shared.config.accounts import default_settings
from shared.config.settings import Settings, SettingsError, load
from shared.messaging.celery_config import make_celery
from shared.messaging.owner import refuse_other_owner
from shared.observability.logging import configure_logging
from shared.redis_client import RedisClient
from webhook.callbacks import CallbackReceiver
from webhook.callbacks import blueprint as callbacks
from webhook.health import Health
from webhook.health import blueprint as health
from webhook.parsing import MAX_BODY_BYTES
from webhook.publisher import CallbackPublisher
from webhook.responses import TEXT
from webhook.source_policy import SourcePolicy
from webhook.unverified import UnverifiedCallbackBudget

_GUNICORN_HALT = 3
"""The exit code that stops gunicorn; after any other it restarts its workers."""
_WORKER_START_SECONDS = 15.0


def create_app(settings: Settings | None = None) -> Flask:
    """Create the app from the settings, read from the environment if none are given.

    Raises:
        SystemExit: a setting is missing or invalid, or Redis is another's; stderr says which.
    """
    try:
        settings = settings or load()
        settings.need("redis_url", "epay_account", "epay_api_key")
        default_settings(settings)
        if (
            problem := refuse_other_owner(settings, wait_seconds=_WORKER_START_SECONDS)
        ) is not None:
            raise SettingsError(problem)  # noqa: TRY301 - one way to say why it cannot start
    except SettingsError as error:
        print(f"The webhook cannot start: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(_GUNICORN_HALT) from None
    configure_logging(settings.log_format)
    logging.getLogger("gunicorn.error").addFilter(_redact_gunicorn_error)
    return assemble(settings, CallbackPublisher(make_celery("webhook", settings)))


def _redact_gunicorn_error(record: logging.LogRecord) -> bool:
    """Cut gunicorn's log line about an invalid request before the part that quotes the request."""
    if str(record.msg).startswith("Invalid request from ip="):
        record.msg = str(record.msg).partition(": ")[0]
    return True


def assemble(settings: Settings, publisher: CallbackPublisher) -> Flask:
    """Create the app with these settings and this publisher."""
    redis = RedisClient(settings.redis_url)
    budget = UnverifiedCallbackBudget(redis, settings.callback_hints_per_minute)
    sources = SourcePolicy(settings, redis)
    app = Flask("webhook")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(callbacks(CallbackReceiver(settings, publisher, budget, sources)))
    app.register_blueprint(health(Health(settings, redis)))
    app.register_error_handler(HTTPException, _short_error)
    return app


def _short_error(error: Exception) -> Response:
    """Answer an HTTP error of the framework with its name as text, without details."""
    status = getattr(error, "code", None) or HTTPStatus.INTERNAL_SERVER_ERROR
    response = Response(getattr(error, "name", "error").lower(), status, content_type=TEXT)
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response
