"""The thin edge towards EPAY: verify, enqueue, answer. `gunicorn 'webhook:create_app()'`."""

from webhook.app import create_app

__all__ = ["create_app"]
