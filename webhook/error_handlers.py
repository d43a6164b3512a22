"""HTTP errors as one line of text, without details."""

from __future__ import annotations

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from webhook.responses import TEXT

_SERVER_ERROR = 500


def install_error_handlers(app: Flask) -> None:
    """Answer every HTTP error of the framework with its name as text."""
    app.register_error_handler(HTTPException, _short)


def _short(error: Exception) -> Response:
    status = getattr(error, "code", None) or _SERVER_ERROR
    name = getattr(error, "name", "error")
    response = Response(name.lower(), status, content_type=TEXT)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response
