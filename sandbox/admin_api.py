"""The sandbox's own paths, all beginning with /_: ledger, log of calls, faults, reports, reset."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from sandbox.state import SandboxState


class AdminApi:
    """The paths by which tests and people look into the sandbox and disturb it."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def blueprint(self) -> Blueprint:
        """Route each path to its method."""
        routes = Blueprint("control", __name__)
        order = "<path:merchant_order_no>"
        routes.add_url_rule("/_ledger", "ledger", self.ledger)
        routes.add_url_rule(f"/_ledger/{order}", "ledger_of", self.ledger_of)
        routes.add_url_rule("/_requests", "requests", self.requests)
        routes.add_url_rule("/_faults", "faults", self.faults)
        routes.add_url_rule("/_faults", "set_faults", self.set_faults, methods=["POST"])
        routes.add_url_rule("/_faults", "clear_faults", self.clear_faults, methods=["DELETE"])
        routes.add_url_rule(f"/_orders/{order}/report", "report", self.report, methods=["POST"])
        routes.add_url_rule("/_reset", "reset", self.reset, methods=["POST"])
        routes.register_error_handler(ValueError, _bad_request)
        return routes

    def ledger(self) -> Response:
        """Give all orders and the totals."""
        return jsonify(self._state.book.ledger())

    def ledger_of(self, merchant_order_no: str) -> Response:
        """Give one order, with its payments."""
        row = self._state.book.ledger_of(merchant_order_no)
        return jsonify(row) if row is not None else _problem("no such order", HTTPStatus.NOT_FOUND)

    def requests(self) -> Response:
        """Give the calls since a Unix time, as [time, call, merchantOrderNo]."""
        return jsonify(self._state.log.since(float(request.args.get("since", "0"))))

    def faults(self) -> Response:
        """Give the faults in force."""
        return jsonify(self._state.faults_as_json())

    def set_faults(self) -> Response:
        """Merge the faults of the body into those in force."""
        return jsonify(self._state.set_faults(_json_object()))

    def clear_faults(self) -> Response:
        """End all faults but those that remarks ask for."""
        self._state.clear_faults()
        return self.faults()

    def report(self, merchant_order_no: str) -> Response:
        """Change the gateway's mind about an order, with a callback unless `callback` is false."""
        body = _json_object()
        status, callback = str(body.get("status", "")), bool(body.get("callback", True))
        if not status.isdecimal():
            raise ValueError("status must be a status code as a text")
        if not self._state.report(merchant_order_no, status, callback=callback):
            return _problem("no such order", HTTPStatus.NOT_FOUND)
        return self.ledger_of(merchant_order_no)

    def reset(self) -> Response:
        """Forget everything."""
        self._state.reset()
        return self.ledger()


def _json_object() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise ValueError("body must be a JSON object")  # noqa: TRY004 - a bad request, not a bug
    return body


def _bad_request(error: ValueError) -> Response:
    return _problem(str(error), HTTPStatus.BAD_REQUEST)


def _problem(text: str, status: HTTPStatus) -> Response:
    response = jsonify({"error": text})
    response.status_code = status
    return response
