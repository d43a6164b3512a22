"""`/epay/callback`: EPAY tells how an order went (epay-gateway section 5).

Verified and on the broker: `success`, and EPAY stops. Everything else makes EPAY come again.
docs/webhook.md has the checks in their order, and what each of them is for.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from flask import Blueprint, Request, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import MethodNotAllowed

from shared.config.settings import ACTED_ON, Settings
from shared.epay import callbacks
from shared.messaging.callback_message import CallbackMessage
from webhook.metrics import CALLBACKS
from webhook.parsing import Malformed, read_fields
from webhook.publisher import CallbackPublisher
from webhook.responses import (
    ACCEPTED,
    BAD_SIGNATURE,
    BROKER_AWAY,
    OUTSIDE,
    RATE_LIMITED,
    Answer,
    Refused,
)
from webhook.shared_redis import BrokerAway
from webhook.source_policy import SourcePolicy
from webhook.unverified import UnverifiedCallbackBudget

log = structlog.get_logger(__name__)

METHODS = ("GET", "POST")


class CallbackReceiver:
    """Checks callbacks, the cheap checks first, and hands them to the workers."""

    def __init__(
        self,
        settings: Settings,
        broker: CallbackPublisher,
        hints: UnverifiedCallbackBudget,
        sources: SourcePolicy,
    ) -> None:
        keys = (settings.epay_api_key, settings.epay_api_key_previous)
        self._keys = [key.get_secret_value() for key in keys if key and key.get_secret_value()]
        self._nested = settings.epay_sign_nested
        self._excluded = settings.epay_callback_excluded
        self._parse_message = settings.epay_callback_parse_message
        self._account = settings.epay_account
        self._publisher = broker
        self._unverified_budget = hints
        self._source_policy = sources

    def receive(self, request: Request) -> Answer:
        """Check one request and hand it over; the answer.

        A right signature is let through whatever else its sender sent: a limit that stood before
        it would let anybody who shares EPAY's way to us, or its proxy, keep EPAY out.
        """
        if not self._source_policy.is_allowed(request):
            return OUTSIDE
        try:
            message = self._read(request)
        except Refused as refused:
            return self._fail(request, refused.answer)
        if message.verified:
            return self._accept(message)
        answer = self._fail(request, BAD_SIGNATURE)
        return self._publish_unverified(message) if answer is BAD_SIGNATURE else answer

    def _read(self, request: Request) -> CallbackMessage:
        fields = read_fields(request)
        if not fields.get("sign"):
            raise Malformed("no signature")
        try:
            message = CallbackMessage.of(callbacks.parse(fields), verified=False)
        except ValidationError as error:
            raise Malformed("it names no order, or a field is absurdly long") from error
        verified = _fields_are_unambiguous(fields) and callbacks.verify(
            fields, self._keys, self._nested, self._excluded, self._parse_message
        )
        return message.model_copy(update={"verified": True}) if verified else message

    def _accept(self, message: CallbackMessage) -> Answer:
        if message.epay_account != self._account:
            # Not ours to judge: the worker holds it against the payout (law 6), where it moves
            # nothing and is on record. Were it refused, EPAY would repeat it for hours.
            log.warning("callback_for_another_account", merchant_order_no=message.merchant_order_no)
        try:
            self._publisher.publish(message)
        except BrokerAway:
            log.warning("callback_not_enqueued", merchant_order_no=message.merchant_order_no)
            return BROKER_AWAY
        return ACCEPTED

    def _fail(self, request: Request, answer: Answer) -> Answer:
        return RATE_LIMITED if self._source_policy.failed_too_often(request) else answer

    def _publish_unverified(self, message: CallbackMessage) -> Answer:
        try:
            if self._unverified_budget.allow(message.merchant_order_no):
                self._publisher.publish(message)
                # No line for each forged callback: the metrics count them, a flood fills no disk.
                log.warning(
                    "callback_with_bad_signature", merchant_order_no=message.merchant_order_no
                )
        except BrokerAway:
            return BROKER_AWAY
        return BAD_SIGNATURE


def _fields_are_unambiguous(fields: Mapping[str, str]) -> bool:
    """Whether no field that we act on has swallowed its neighbour in the text that is signed.

    Nothing is escaped there: `epayOrderNo=E1` and `extendFields=x` are signed like an epayOrderNo
    of `E1&extendFields=x`.
    """
    return not any("&" in fields.get(name, "") for name in ACTED_ON)


def blueprint(callbacks: CallbackReceiver) -> Blueprint:
    """The route of the callbacks."""
    routes = Blueprint("callbacks", __name__)

    @routes.route("/epay/callback", methods=METHODS, provide_automatic_options=False)
    def epay_callback() -> Response:
        if request.method not in METHODS:  # HEAD comes with GET
            raise MethodNotAllowed(METHODS)
        answer = callbacks.receive(request)
        CALLBACKS.labels(result=answer.result).inc()
        return answer.response()

    return routes
