"""The four calls under /capi/openapi/payoutApi (section 3), with the faults that were ordered."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import ValidationError

from sandbox import envelopes
from sandbox.connection_faults import drop_connection, hold_connection
from sandbox.faults import Fault, FaultPlan, chance, plan_from_text
from sandbox.orders import Order
from sandbox.outage import DownMode
from sandbox.request_checks import (
    CreateParam,
    Envelope,
    LimitParam,
    QueryParam,
    RefusedError,
    check_sender,
)
from sandbox.settings import PREFIX
from sandbox.state import SandboxState

RUBBISH = "<html><head><title>502</title></head><body><h1>Please wait</h1></body></html>"

_FIRST_ANSWER_FAULTS = (
    Fault.ACCEPT_THEN_SILENCE,
    Fault.ACCEPT_THEN_CLOSE,
    Fault.ACCEPT_THEN_500,
    Fault.ACCEPT_THEN_RUBBISH,
)

_Call = Callable[[Envelope], Response]


class GatewayApi:
    """The calls, each from an envelope to a response."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._config = state.config
        self._answer_numbers = itertools.count(1)

    def blueprint(self) -> Blueprint:
        """Route each call to its method."""
        routes = Blueprint("calls", __name__, url_prefix=f"{PREFIX}/payoutApi")
        calls: dict[str, _Call] = {
            "createEwalletTransaction": self.create,
            "queryTransaction": self.query,
            "getLimit": self.limit,
            "getBalance": self.balance,
        }
        for name, call in calls.items():
            routes.add_url_rule(
                f"/{name}", name, partial(self._serve, name, call), methods=["POST"]
            )
        return routes

    def _serve(self, name: str, call: _Call) -> Response:
        away = self._state.outage.mode
        if away is DownMode.UNAVAILABLE:
            return Response("gateway unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
        if away is DownMode.SILENT:
            hold_connection(self._state.outage.seconds_left, self._state.stopping)
        if away is not None:
            return drop_connection()
        faults = self._state.faults
        if faults.latency_seconds:
            self._state.stopping.wait(faults.latency_seconds)
        response = self._answer(name, call)
        if faults.lose_answers:
            number = next(self._answer_numbers)
            if chance(faults.seed, "answer", number) < faults.lose_answers:
                return drop_connection()
        return response

    def _answer(self, name: str, call: _Call) -> Response:
        try:
            envelope = Envelope.model_validate_json(request.get_data())
            self._state.log.add(name, envelope.text("merchantOrderNo"))
            return call(envelope)
        except RefusedError as refused:
            code, message = refused.code, str(refused)
        except ValidationError as invalid:
            error = invalid.errors()[0]
            code = self._config.bad_request_code
            message = f"{'.'.join(map(str, error['loc'])) or 'body'}: {error['msg']}"
        return jsonify(envelopes.refusal(self._config, code, message))

    def create(self, envelope: Envelope) -> Response:
        """Answer createEwalletTransaction."""
        no = QueryParam.model_validate(envelope.param).merchant_order_no
        book = self._state.book
        book.arrive(no, envelope.text("amount"), envelope.text("currency"))
        check_sender(self._config, envelope)
        param = CreateParam.model_validate(envelope.param)
        self._check_amount(param)
        faults = self._plan(param)
        lost = book.spend(no, faults, Fault.DOWN, Fault.DROP_BEFORE_ACCEPTING)
        if lost is Fault.DOWN:
            self._state.outage.begin(faults.value(lost, self._config.down_seconds))
        if lost:
            return drop_connection()
        if Fault.REFUSE in faults:
            code = int(faults.value(Fault.REFUSE, self._config.refused_code))
            raise RefusedError(code, "refused")
        order, is_new = book.accept(self._order_from(param, faults))
        if order is None:
            raise RefusedError(self._config.duplicate_code, "merchantOrderNo exists")
        status = order.status
        if is_new:
            self._state.simulation.begin(order)
        spoiled = self._spoiled_answer(order)
        return spoiled or self._about(order, envelopes.created_data(order, status))

    def query(self, envelope: Envelope) -> Response:
        """Answer queryTransaction."""
        check_sender(self._config, envelope)
        no = QueryParam.model_validate(envelope.param).merchant_order_no
        order, status = self._state.book.look_up(no)
        if order is None:
            raise RefusedError(self._config.not_found_code, "order does not exist")
        response = self._about(order, envelopes.query_data(order, status))
        self._state.simulation.saw(order, status)
        return response

    def limit(self, envelope: Envelope) -> Response:
        """Answer getLimit."""
        check_sender(self._config, envelope)
        low, high = self._limits_of(LimitParam.model_validate(envelope.param).currency)
        data = {"singleMin": str(low), "singleMax": str(high)}
        return jsonify(envelopes.answer(self._config, data))

    def balance(self, envelope: Envelope) -> Response:
        """Answer getBalance: opening balances less what was paid."""
        check_sender(self._config, envelope)
        wanted = envelope.text("currency")
        paid = self._state.book.paid_by_currency()
        data = [
            {
                "currency": currency,
                "balance": envelopes.with_places(opening - paid.get(currency, 0), 2),
            }
            for currency, opening in self._state.balances.items()
            if wanted in {None, currency}
        ]
        return jsonify(envelopes.answer(self._config, data))

    def _limits_of(self, currency: str) -> tuple[Decimal, Decimal]:
        limits = self._state.limits.get(currency)
        if limits is None:
            raise RefusedError(self._config.bad_request_code, "unsupported currency")
        return limits

    def _check_amount(self, param: CreateParam) -> None:
        low, high = self._limits_of(param.currency)
        if not low <= param.amount <= high:
            message = f"amount must be from {low} to {high} {param.currency}"
            raise RefusedError(self._config.limit_code, message)

    def _plan(self, param: CreateParam) -> FaultPlan:
        no = param.merchant_order_no
        try:
            plan = plan_from_text(param.receiver_info.remark or "") or self._state.faults.draw(no)
        except ValueError as error:
            raise RefusedError(self._config.bad_request_code, str(error)) from error
        self._state.book.note_faults(no, plan)
        return plan

    def _order_from(self, param: CreateParam, faults: FaultPlan) -> Order:
        hidden = self._state.faults.query_hidden_seconds
        if Fault.HIDDEN in faults:
            hidden = faults.value(Fault.HIDDEN, self._config.hidden_seconds)
        extend = param.extend_fields
        return Order(
            merchant_order_no=param.merchant_order_no,
            epay_order_no=self._state.book.new_order_no(),
            amount=param.amount,
            currency=param.currency,
            fee=self._state.fee,
            remark=param.receiver_info.remark,
            notify_url=param.notify_url,
            extend_fields=json.dumps(extend, separators=(",", ":")) if extend else None,
            faults=faults,
            visible_at=time.monotonic() + hidden,
        )

    def _spoiled_answer(self, order: Order) -> Response | None:
        faults = order.faults
        if Fault.SLOW in faults:
            self._state.stopping.wait(faults.value(Fault.SLOW, self._config.slow_seconds))
        fault = self._state.book.spend(order.merchant_order_no, faults, *_FIRST_ANSWER_FAULTS)
        if fault is None:
            return None
        if fault is Fault.ACCEPT_THEN_500:
            return Response("internal error", HTTPStatus.INTERNAL_SERVER_ERROR)
        if fault is Fault.ACCEPT_THEN_RUBBISH:
            return Response(RUBBISH, HTTPStatus.OK, mimetype="text/html")
        if fault is Fault.ACCEPT_THEN_SILENCE:
            seconds = faults.value(fault, self._config.silence_seconds)
            hold_connection(seconds, self._state.stopping)
        return drop_connection()

    def _about(self, order: Order, data: dict[str, Any]) -> Response:
        body = envelopes.answer(self._config, data)
        wrong = order.faults.value(Fault.WRONG_RESPONSE_SIGNATURE, 1)
        number = next(order.answer_numbers)
        if Fault.WRONG_RESPONSE_SIGNATURE in order.faults and number <= wrong:
            body["sign"] = envelopes.spoiled(body["sign"])
        return jsonify(body)
