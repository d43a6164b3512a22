"""The WSGI app: wires the parts together from the settings."""

from __future__ import annotations

import logging
import sys

from flask import Flask

from shared.config.settings import Settings, SettingsError, load
from shared.messaging.celery_config import make_celery
from shared.observability.logging import configure_logging
from webhook.callbacks import CallbackReceiver
from webhook.callbacks import blueprint as callbacks
from webhook.error_handlers import install_error_handlers
from webhook.health import Health
from webhook.health import blueprint as health
from webhook.parsing import MAX_BODY_BYTES
from webhook.publisher import CallbackPublisher
from webhook.shared_redis import SharedRedis
from webhook.source_policy import SourcePolicy
from webhook.unverified import UnverifiedCallbackBudget

_GUNICORN_HALT = 3
"""The exit code that ends gunicorn, which starts its workers again after any other."""


def create_app(settings: Settings | None = None) -> Flask:
    """Make the app.

    Raises:
        SystemExit: a setting is missing or wrong; stderr says which.
    """
    try:
        settings = settings or load()
        settings.need("redis_url", "epay_account", "epay_api_key")
    except SettingsError as error:
        print(f"The webhook cannot start: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(_GUNICORN_HALT) from None
    configure_logging(settings.log_format)
    logging.getLogger("gunicorn.error").addFilter(_redact_gunicorn_error)
    return assemble(settings, CallbackPublisher(make_celery("webhook", settings)))


def _redact_gunicorn_error(record: logging.LogRecord) -> bool:
    """Shorten gunicorn's line about what is no HTTP, which repeats what was sent."""
    if str(record.msg).startswith("Invalid request from ip="):
        record.msg = str(record.msg).partition(": ")[0]
    return True


def assemble(settings: Settings, broker: CallbackPublisher) -> Flask:
    """The app of these parts."""
    redis = SharedRedis(settings.redis_url)
    hints = UnverifiedCallbackBudget(redis, settings.callback_hints_per_minute)
    sources = SourcePolicy(settings, redis)
    app = Flask("webhook")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(callbacks(CallbackReceiver(settings, broker, hints, sources)))
    app.register_blueprint(health(Health(settings, redis)))
    install_error_handlers(app)
    return app
