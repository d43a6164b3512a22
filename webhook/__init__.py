"""Receives callbacks from EPAY: verify, publish, answer. WSGI app: `webhook:create_app()`."""

from webhook.app import create_app

__all__ = ["create_app"]
