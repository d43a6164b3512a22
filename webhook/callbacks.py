"""`/epay/callback`: EPAY reports the status of an order (epay-gateway section 5).

`success` is answered only for a verified callback that is on the broker; after any other answer
EPAY repeats the callback. docs/webhook.md lists the checks in their order and their purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from flask import Blueprint, Request, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import MethodNotAllowed

from shared.config.accounts import account_settings, api_keys, gateway_hosts
from shared.config.settings import ACTED_ON, Settings
from shared.domain.accounts import account_key
from shared.epay import callbacks
from shared.messaging.callback_message import CallbackMessage
from shared.redis_client import RedisUnavailable
from webhook.metrics import CALLBACKS
from webhook.parsing import read_fields
from webhook.publisher import CallbackPublisher
from webhook.responses import (
    ACCEPTED,
    BAD_SIGNATURE,
    BROKER_AWAY,
    MALFORMED,
    OUTSIDE,
    RATE_LIMITED,
    Answer,
    Refused,
)
from webhook.source_policy import SourcePolicy
from webhook.unverified import UnverifiedCallbackBudget

log = structlog.get_logger(__name__)

METHODS = ("GET", "POST")


class CallbackReceiver:
    """Checks callbacks, cheap checks first, and publishes them to the workers."""

    def __init__(
        self,
        settings: Settings,
        publisher: CallbackPublisher,
        unverified_budget: UnverifiedCallbackBudget,
        sources: SourcePolicy,
    ) -> None:
        self._accounts = account_settings(settings)
        self._excluded = settings.epay_callback_excluded
        self._parse_message = settings.epay_callback_parse_message
        self._publisher = publisher
        self._unverified_budget = unverified_budget
        self._source_policy = sources

    def receive(self, request: Request) -> Answer:
        """Check one request, publish its callback, and return the answer.

        A valid signature is accepted whatever else its sender sent: a rate limit before the
        signature check would let anyone who shares EPAY's address or proxy block EPAY.
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
            raise Refused(MALFORMED, "no signature")
        try:
            message = CallbackMessage.of(callbacks.parse(fields), verified=False)
        except ValidationError as error:
            raise Refused(MALFORMED, "no order number, or a field is too long") from error
        if not _fields_are_unambiguous(fields):
            return message
        verified = [
            one
            for one in self._signers(message.epay_account)
            if callbacks.verify(
                fields, api_keys(one), one.epay_sign_nested, self._excluded, self._parse_message
            )
        ]
        if not verified:
            return message
        gateways = gateway_hosts(verified[0]) if len(self._accounts) > 1 else None
        return message.model_copy(update={"verified": True, "gateways": gateways})

    def _named(self, account: str | None) -> list[Settings]:
        key = account_key(account or "")
        return [one for one in self._accounts if account_key(one.epay_account) == key]

    def _signers(self, account: str | None) -> Sequence[Settings]:
        """Who may have signed it: the account that it names; the only one, whatever it names."""
        return self._accounts if len(self._accounts) == 1 else self._named(account)

    def _accept(self, message: CallbackMessage) -> Answer:
        if not self._named(message.epay_account):
            # The worker compares it with the payout (law 6) and records the mismatch. If it were
            # refused here, EPAY would repeat it for hours.
            log.warning("callback_for_another_account", merchant_order_no=message.merchant_order_no)
        try:
            self._publisher.publish(message)
        except RedisUnavailable:
            log.warning("callback_not_enqueued", merchant_order_no=message.merchant_order_no)
            return BROKER_AWAY
        return ACCEPTED

    def _fail(self, request: Request, answer: Answer) -> Answer:
        return RATE_LIMITED if self._source_policy.failed_too_often(request) else answer

    def _publish_unverified(self, message: CallbackMessage) -> Answer:
        try:
            if self._unverified_budget.allow(message.merchant_order_no):
                self._publisher.publish(message)
                # Logged within the budget only: a flood of forged callbacks must not fill the disk.
                log.warning(
                    "callback_with_bad_signature", merchant_order_no=message.merchant_order_no
                )
        except RedisUnavailable:
            return BROKER_AWAY
        return BAD_SIGNATURE


def _fields_are_unambiguous(fields: Mapping[str, str]) -> bool:
    """Whether no field that we act on contains a `&`.

    The signed text escapes nothing: `epayOrderNo=E1` with `extendFields=x` has the same signature
    as an epayOrderNo of `E1&extendFields=x`.
    """
    return not any("&" in fields.get(name, "") for name in ACTED_ON)


def blueprint(receiver: CallbackReceiver) -> Blueprint:
    """The callback route."""
    routes = Blueprint("callbacks", __name__)

    @routes.route("/epay/callback", methods=METHODS, provide_automatic_options=False)
    def epay_callback() -> Response:
        if request.method not in METHODS:  # Flask routes HEAD along with GET
            raise MethodNotAllowed(METHODS)
        answer = receiver.receive(request)
        CALLBACKS.labels(result=answer.result).inc()
        return answer.response()

    return routes
