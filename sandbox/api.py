"""The four calls under /capi/openapi/payoutApi (section 3), with the faults that were ordered."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request
from pydantic import ValidationError

from sandbox import envelopes
from sandbox.connection_faults import drop_connection, hold_connection
from sandbox.faults import Fault, FaultPlan, chance, plan_from_text
from sandbox.orders import Order
from sandbox.outage import DownMode
from sandbox.request_checks import CreateParam, Envelope, LimitParam, QueryParam, RefusedError
from sandbox.settings import PREFIX

if TYPE_CHECKING:
    from sandbox.server import Gateway

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

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._config = gateway.config
        self._read_plan = partial(plan_from_text, defaults=gateway.config.fault_values())
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
        away = self._gateway.outage.mode
        if away is DownMode.UNAVAILABLE:
            return Response("gateway unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
        if away is DownMode.SILENT:
            hold_connection(self._gateway.outage.seconds_left, self._gateway.stopping)
        if away is not None:
            return drop_connection()
        faults = self._gateway.faults
        self._gateway.stopping.wait(faults.latency_seconds)
        response = self._answer(name, call)
        if faults.lose_answers:
            number = next(self._answer_numbers)
            if chance(faults.seed, "answer", number) < faults.lose_answers:
                return drop_connection()
        return response

    def _answer(self, name: str, call: _Call) -> Response:
        try:
            envelope = Envelope.model_validate_json(request.get_data())
            self._gateway.log.add(name, envelope.text("merchantOrderNo"))
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
        book = self._gateway.book
        book.arrive(no, envelope.text("amount"), envelope.text("currency"))
        envelope.check_sender(self._config)
        param = CreateParam.model_validate(envelope.param)
        low, high = self._limits_of(param.currency)
        if not low <= param.amount <= high:
            message = f"amount must be from {low} to {high} {param.currency}"
            raise RefusedError(self._config.limit_code, message)
        faults = self._plan(param)
        lost = book.spend(no, faults, Fault.DOWN, Fault.DROP_BEFORE_ACCEPTING)
        if lost is Fault.DOWN:
            self._gateway.outage.begin(faults[lost])
        if lost:
            return drop_connection()
        if Fault.REFUSE in faults:
            raise RefusedError(int(faults[Fault.REFUSE]), "refused")
        wanted = self._order_from(param, faults)
        order = book.accept(wanted)
        if order is None:
            raise RefusedError(self._config.duplicate_code, "merchantOrderNo exists")
        status = order.status
        if order is wanted:
            self._gateway.simulation.begin(order)
        spoiled = self._spoiled_answer(order)
        return spoiled or self._about(order, envelopes.created_data(order, status))

    def query(self, envelope: Envelope) -> Response:
        """Answer queryTransaction."""
        envelope.check_sender(self._config)
        no = QueryParam.model_validate(envelope.param).merchant_order_no
        order = self._gateway.book.look_up(no)
        if order is None:
            raise RefusedError(self._config.not_found_code, "order does not exist")
        status = order.status
        response = self._about(order, envelopes.query_data(order, status))
        self._gateway.simulation.saw(order, status)
        return response

    def limit(self, envelope: Envelope) -> Response:
        """Answer getLimit."""
        envelope.check_sender(self._config)
        low, high = self._limits_of(LimitParam.model_validate(envelope.param).currency)
        data = {"singleMin": str(low), "singleMax": str(high)}
        return jsonify(envelopes.answer(self._config, data))

    def balance(self, envelope: Envelope) -> Response:
        """Answer getBalance: opening balances less what was paid."""
        envelope.check_sender(self._config)
        wanted = envelope.text("currency")
        paid = self._gateway.book.paid_by_currency()
        data = [
            {
                "currency": currency,
                "balance": envelopes.with_places(opening - paid.get(currency, 0), 2),
            }
            for currency, opening in self._gateway.balances.items()
            if wanted in {None, currency}
        ]
        return jsonify(envelopes.answer(self._config, data))

    def _limits_of(self, currency: str) -> tuple[Decimal, Decimal]:
        limits = self._gateway.limits.get(currency)
        if limits is None:
            raise RefusedError(self._config.bad_request_code, "unsupported currency")
        return limits

    def _plan(self, param: CreateParam) -> FaultPlan:
        drawn = self._gateway.faults.draw(param.merchant_order_no)
        plan = self._read_plan(param.receiver_info.remark or "") or self._read_plan(drawn)
        self._gateway.book.note_faults(param.merchant_order_no, plan)
        return plan

    def _order_from(self, param: CreateParam, faults: FaultPlan) -> Order:
        hidden = faults.get(Fault.HIDDEN, self._gateway.faults.query_hidden_seconds)
        extend = param.extend_fields
        return Order(
            merchant_order_no=param.merchant_order_no,
            epay_order_no=self._gateway.book.new_order_no(),
            amount=param.amount,
            currency=param.currency,
            fee=self._gateway.fee,
            remark=param.receiver_info.remark,
            notify_url=param.notify_url,
            extend_fields=json.dumps(extend, separators=(",", ":")) if extend else None,
            faults=faults,
            visible_at=time.monotonic() + hidden,
        )

    def _spoiled_answer(self, order: Order) -> Response | None:
        faults = order.faults
        self._gateway.stopping.wait(faults.get(Fault.SLOW, 0))
        fault = self._gateway.book.spend(order.merchant_order_no, faults, *_FIRST_ANSWER_FAULTS)
        if fault is None:
            return None
        if fault is Fault.ACCEPT_THEN_500:
            return Response("internal error", HTTPStatus.INTERNAL_SERVER_ERROR)
        if fault is Fault.ACCEPT_THEN_RUBBISH:
            return Response(RUBBISH, HTTPStatus.OK, mimetype="text/html")
        if fault is Fault.ACCEPT_THEN_SILENCE:
            hold_connection(faults[fault], self._gateway.stopping)
        return drop_connection()

    def _about(self, order: Order, data: dict[str, Any]) -> Response:
        body = envelopes.answer(self._config, data)
        if next(order.answer_numbers) <= order.faults.get(Fault.WRONG_RESPONSE_SIGNATURE, 0):
            body["sign"] = envelopes.spoiled(body["sign"])
        return jsonify(body)
