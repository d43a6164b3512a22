"""The Flask app of the sandbox."""

from __future__ import annotations

from flask import Flask

from sandbox.admin_api import AdminApi
from sandbox.api import GatewayApi
from sandbox.state import SandboxState


def create_app(state: SandboxState) -> Flask:
    """Route the gateway's calls and the sandbox's own paths, working on this state."""
    app = Flask("sandbox", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(GatewayApi(state).blueprint())
    app.register_blueprint(AdminApi(state).blueprint())
    return app
