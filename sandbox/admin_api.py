"""The sandbox's own paths, all beginning with /_: ledger, log of calls, faults, reports, reset."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, StringConstraints, TypeAdapter

if TYPE_CHECKING:
    from sandbox.server import Gateway

_JSON_OBJECT = TypeAdapter(dict[str, Any])


class _Report(BaseModel):
    status: Annotated[str, StringConstraints(pattern=r"^\d+$")]
    callback: bool = True


def admin_routes(gateway: Gateway) -> Blueprint:
    """The paths by which tests and people look into the sandbox and disturb it."""
    routes = Blueprint("control", __name__)

    @routes.get("/_ledger")
    def ledger() -> ResponseReturnValue:
        """All orders and the totals."""
        return gateway.ledger()

    @routes.get("/_ledger/<path:no>")
    def ledger_of(no: str) -> ResponseReturnValue:
        """One order, with its payments."""
        return gateway.book.ledger_of(no) or ({"error": "no such order"}, HTTPStatus.NOT_FOUND)

    @routes.get("/_requests")
    def requests() -> ResponseReturnValue:
        """The calls since a Unix time, as [time, call, merchantOrderNo]."""
        return jsonify(gateway.log.since(float(request.args.get("since", 0))))

    @routes.get("/_faults")
    def faults() -> ResponseReturnValue:
        """The faults in force."""
        return gateway.present_faults()

    @routes.post("/_faults")
    def set_faults() -> ResponseReturnValue:
        """Merge the faults of the body into those in force."""
        return gateway.set_faults(**_JSON_OBJECT.validate_json(request.get_data()))

    @routes.delete("/_faults")
    def clear_faults() -> ResponseReturnValue:
        """End all faults but those that remarks ask for."""
        gateway.clear_faults()
        return gateway.present_faults()

    @routes.post("/_orders/<path:no>/report")
    def report(no: str) -> ResponseReturnValue:
        """Change the gateway's mind about an order, with a callback unless `callback` is false."""
        wanted = _Report.model_validate_json(request.get_data())
        gateway.report(no, wanted.status, callback=wanted.callback)
        return ledger_of(no)

    @routes.post("/_reset")
    def reset() -> ResponseReturnValue:
        """Forget everything."""
        gateway.reset()
        return gateway.ledger()

    @routes.errorhandler(ValueError)
    def bad_request(error: ValueError) -> ResponseReturnValue:
        return {"error": str(error)}, HTTPStatus.BAD_REQUEST

    return routes
