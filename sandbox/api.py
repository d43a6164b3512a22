"""The four calls under /capi/openapi/payoutApi (section 3), with the faults that were ordered."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from sandbox import envelopes, request_checks
from sandbox.connection_faults import drop_connection, hold_connection
from sandbox.faults import Fault, FaultPlan, UnknownFaultError, chance, plan_from_text
from sandbox.orders import Order
from sandbox.outage import DownMode
from sandbox.settings import PREFIX
from sandbox.state import SandboxState

RUBBISH = "<html><head><title>502</title></head><body><h1>Please wait</h1></body></html>"

_FIRST_ANSWER_FAULTS = (
    Fault.ACCEPT_THEN_SILENCE,
    Fault.ACCEPT_THEN_CLOSE,
    Fault.ACCEPT_THEN_500,
    Fault.ACCEPT_THEN_RUBBISH,
)


class GatewayApi:
    """The calls, each from an envelope to a response."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._config = state.config
        self._answer_numbers = itertools.count(1)

    def blueprint(self) -> Blueprint:
        """Route each call to its method."""
        routes = Blueprint("calls", __name__, url_prefix=f"{PREFIX}/payoutApi")
        calls: dict[str, Callable[[request_checks.Envelope], Response]] = {
            "createEwalletTransaction": self.create,
            "queryTransaction": self.query,
            "getLimit": self.limit,
            "getBalance": self.balance,
        }
        for name, call in calls.items():
            routes.add_url_rule(f"/{name}", name, self._guarded(name, call), methods=["POST"])
        return routes

    def _guarded(
        self, name: str, call: Callable[[request_checks.Envelope], Response]
    ) -> Callable[[], Response]:
        def view() -> Response:
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
            response = self._answered(name, call)
            if faults.lose_answers:
                number = next(self._answer_numbers)
                if chance(faults.seed, "answer", number) < faults.lose_answers:
                    return drop_connection()
            return response

        return view

    def _answered(self, name: str, call: Callable[[request_checks.Envelope], Response]) -> Response:
        try:
            envelope = request_checks.read_envelope(self._config, request.get_data())
            self._state.log.add(name, envelope.text("merchantOrderNo"))
            return call(envelope)
        except request_checks.RefusedError as refused:
            return jsonify(envelopes.refusal(self._config, refused.code, refused.message))

    def create(self, envelope: request_checks.Envelope) -> Response:
        """Answer createEwalletTransaction."""
        no = request_checks.required(self._config, envelope, "merchantOrderNo")
        book = self._state.book
        book.arrive(no, envelope.text("amount"), envelope.text("currency"))
        faults = self._plan(no, envelope)
        request_checks.check_sender(self._config, envelope)
        fields = request_checks.check_create(self._config, self._state.limits, envelope)
        lost = self._lost_before_accepting(no, faults)
        if lost is not None:
            return lost
        if Fault.REFUSE in faults:
            code = int(faults.value(Fault.REFUSE, self._config.refused_code))
            raise request_checks.RefusedError(code, "refused")
        order, is_new = book.accept(self._order_from(fields, faults))
        if order is None:
            raise request_checks.RefusedError(self._config.duplicate_code, "merchantOrderNo exists")
        status = order.status
        if is_new:
            self._state.simulation.begin(order)
        spoiled = self._spoiled_answer(order)
        return spoiled or self._about(order, envelopes.created_data(order, status))

    def query(self, envelope: request_checks.Envelope) -> Response:
        """Answer queryTransaction."""
        request_checks.check_sender(self._config, envelope)
        no = request_checks.required(self._config, envelope, "merchantOrderNo")
        order, status = self._state.book.look_up(no)
        if order is None:
            raise request_checks.RefusedError(self._config.not_found_code, "order does not exist")
        response = self._about(order, envelopes.query_data(order, status))
        self._state.simulation.saw(order, status)
        return response

    def limit(self, envelope: request_checks.Envelope) -> Response:
        """Answer getLimit, for EWALLET too although its table does not list it (section 3.3)."""
        request_checks.check_sender(self._config, envelope)
        currency = request_checks.required(self._config, envelope, "currency")
        category = request_checks.required(self._config, envelope, "category")
        if currency not in self._state.limits or category not in {"BANK", "CASH", "EWALLET"}:
            raise request_checks.RefusedError(
                self._config.bad_request_code, "no such currency or category"
            )
        low, high = self._state.limits[currency]
        data = {"singleMin": str(low), "singleMax": str(high)}
        return jsonify(envelopes.answer(self._config, data))

    def balance(self, envelope: request_checks.Envelope) -> Response:
        """Answer getBalance: opening balances less what was paid."""
        request_checks.check_sender(self._config, envelope)
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

    def _order_from(self, fields: request_checks.CreateFields, faults: FaultPlan) -> Order:
        hidden = self._state.faults.query_hidden_seconds
        if Fault.HIDDEN in faults:
            hidden = faults.value(Fault.HIDDEN, self._config.hidden_seconds)
        return Order(
            merchant_order_no=fields.merchant_order_no,
            epay_order_no=self._state.book.new_order_no(),
            amount=fields.amount,
            currency=fields.currency,
            fee=self._state.fee,
            remark=fields.remark,
            notify_url=fields.notify_url,
            extend_fields=fields.extend_fields,
            faults=faults,
            visible_at=time.monotonic() + hidden,
        )

    def _plan(self, no: str, envelope: request_checks.Envelope) -> FaultPlan:
        try:
            plan = plan_from_text(request_checks.remark_of(envelope))
        except UnknownFaultError as error:
            raise request_checks.RefusedError(self._config.bad_request_code, str(error)) from error
        plan = plan if plan.marks else self._state.faults.draw(no)
        self._state.book.note_faults(no, plan)
        return plan

    def _lost_before_accepting(self, no: str, faults: FaultPlan) -> Response | None:
        book = self._state.book
        if Fault.DOWN in faults and book.spend(no, Fault.DOWN):
            seconds = faults.value(Fault.DOWN, self._config.down_seconds)
            self._state.outage.begin(seconds, DownMode.REFUSE)
            return drop_connection()
        if Fault.DROP_BEFORE_ACCEPTING in faults and book.spend(no, Fault.DROP_BEFORE_ACCEPTING):
            return drop_connection()
        return None

    def _spoiled_answer(self, order: Order) -> Response | None:
        no, faults = order.merchant_order_no, order.faults
        if Fault.SLOW in faults:
            self._state.stopping.wait(faults.value(Fault.SLOW, self._config.slow_seconds))
        for fault in _FIRST_ANSWER_FAULTS:
            if fault in faults and self._state.book.spend(no, fault):
                return self._spoil(fault, faults)
        return None

    def _spoil(self, fault: Fault, faults: FaultPlan) -> Response:
        if fault is Fault.ACCEPT_THEN_500:
            return Response("internal error", HTTPStatus.INTERNAL_SERVER_ERROR)
        if fault is Fault.ACCEPT_THEN_RUBBISH:
            return Response(RUBBISH, HTTPStatus.OK, mimetype="text/html")
        if fault is Fault.ACCEPT_THEN_SILENCE:
            seconds = faults.value(Fault.ACCEPT_THEN_SILENCE, self._config.silence_seconds)
            hold_connection(seconds, self._state.stopping)
        return drop_connection()

    def _about(self, order: Order, data: dict[str, Any]) -> Response:
        body = envelopes.answer(self._config, data)
        number = self._state.book.count_answer(order)
        if Fault.WRONG_RESPONSE_SIGNATURE in order.faults and number <= order.faults.value(
            Fault.WRONG_RESPONSE_SIGNATURE, 1
        ):
            body["sign"] = envelopes.spoiled(body["sign"])
        return jsonify(body)
