"""`/epay/callback`: EPAY tells how an order went (epay-gateway section 5).

Verified and on the broker: `success`, and EPAY stops. Everything else makes EPAY come again.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, request
from pydantic import ValidationError

from shared.callback_message import CallbackMessage
from shared.epay import callback
from shared.settings import Settings
from webhook.broker import Broker, BrokerAway
from webhook.fields import Malformed, UnsupportedType, read_fields
from webhook.metrics import CALLBACKS

log = structlog.get_logger(__name__)

_ANSWERS = {
    "accepted": ("success", 200),
    "malformed": ("malformed", 400),
    "bad_signature": ("forbidden", 403),
    "unsupported_type": ("unsupported media type", 415),
    "broker_away": ("try again later", 503),
}


class Callbacks:
    """Checks callbacks, the cheap checks first, and hands them to the workers."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        keys = (settings.epay_api_key, settings.epay_api_key_previous)
        self._keys = [key.get_secret_value() for key in keys if key and key.get_secret_value()]
        self._nested = settings.epay_sign_nested
        self._broker = broker

    def receive(self) -> str:
        """Deal with the request at hand; the name of the answer."""
        try:
            fields = read_fields(request)
            verified = callback.verify(fields, self._keys, self._nested)
            message = CallbackMessage.of(callback.parse(fields), verified=verified)
        except UnsupportedType:
            return "unsupported_type"
        except (Malformed, ValidationError):
            return "malformed"
        if not message.merchant_order_no or not fields.get("sign"):
            return "malformed"
        try:
            return self._hand_over(message)
        except BrokerAway:
            log.warning("callback_not_enqueued", merchant_order_no=message.merchant_order_no)
            return "broker_away"

    def _hand_over(self, message: CallbackMessage) -> str:
        if message.verified:
            self._broker.enqueue(message)
            return "accepted"
        log.warning("callback_with_bad_signature", merchant_order_no=message.merchant_order_no)
        if self._broker.first_hint(message.merchant_order_no):
            self._broker.enqueue(message)
        return "bad_signature"


def blueprint(callbacks: Callbacks) -> Blueprint:
    """The route of the callbacks."""
    routes = Blueprint("callbacks", __name__)

    @routes.route("/epay/callback", methods=["POST", "GET"])
    def epay_callback() -> Response:
        result = callbacks.receive()
        CALLBACKS.labels(result=result).inc()
        body, status = _ANSWERS[result]
        return Response(body, status, content_type="text/plain; charset=utf-8")

    return routes
