"""The calls of the EPAY gateway that payouts need; each returns a value for any outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shared.domain.gateway import (
    Balance,
    CreateOrder,
    Failure,
    Limit,
    OrderAnswer,
    OutcomeUnknown,
    Refused,
)
from shared.domain.redaction import redact_refusal
from shared.epay.config import EpayConfig
from shared.epay.responses import (
    Answer,
    read_answer,
    read_balances,
    read_created,
    read_limit,
    read_queried,
)
from shared.epay.signing import sign
from shared.epay.transport import Transport

VERSION = "V2.0.0"
CATEGORY = "EWALLET"


class EpayClient:
    """Client of one EPAY account. Create one per process and share it between the threads."""

    def __init__(self, config: EpayConfig) -> None:
        self._config = config
        self._api_key = config.api_key.get_secret_value()
        self._transport = Transport(config)

    def create(
        self,
        order: CreateOrder,
        *,
        new_connection: bool = False,
        is_late: Callable[[], bool] = lambda: False,
    ) -> OrderAnswer:
        """Request a payout by createEwalletTransaction (section 3.1); sends one request at most.

        Args:
            order: the payout.
            new_connection: use no connection of the pool.
            is_late: asked right before the first byte; nothing is sent if it is true.

        Raises ValueError, with nothing sent, for an order that cannot be encoded: text that is not
        valid Unicode, extend_fields that are not JSON.
        """
        config = self._config
        optional = {
            "notifyUrl": config.notify_url,
            "successUrlMethod": config.success_url_method,
            "failUrlMethod": config.fail_url_method,
            "extendFields": order.extend_fields,
        }
        receiver = {"accountNo": order.account_no}
        if order.remark:
            receiver["remark"] = order.remark
        answer = self._post(
            "/payoutApi/createEwalletTransaction",
            {
                "category": CATEGORY,
                "merchantOrderNo": order.merchant_order_no,
                "currency": order.currency,
                "channelCode": order.channel_code,
                "amount": order.amount,
                "receiverInfo": receiver,
                **{name: value for name, value in optional.items() if value},
            },
            new_connection=new_connection,
            is_late=is_late,
        )
        if isinstance(answer, Answer):
            return read_created(answer)
        return redact_refusal(answer, order.account_no) if isinstance(answer, Refused) else answer

    def query(self, merchant_order_no: str) -> OrderAnswer:
        """Query an order's status (section 3.2); the answer for an unknown one is undocumented."""
        answer = self._ask("/payoutApi/queryTransaction", {"merchantOrderNo": merchant_order_no})
        return read_queried(answer) if isinstance(answer, Answer) else answer

    def limit(
        self,
        currency: str,
        category: str,
        channel_code: str | None = None,
        type_: str | None = "PAYMENT",
    ) -> Limit | Failure:
        """Query the amount limits of a payout (section 3.3); its page does not list EWALLET."""
        optional = {"channelCode": channel_code, "type": type_}
        answer = self._ask(
            "/payoutApi/getLimit",
            {
                "currency": currency,
                "category": category,
                **{name: value for name, value in optional.items() if value},
            },
        )
        return read_limit(answer) if isinstance(answer, Answer) else answer

    def balance(self, currency: str | None = None) -> list[Balance] | Failure:
        """Query the balance of one currency, or of all (section 3.4)."""
        answer = self._ask("/payoutApi/getBalance", {"currency": currency} if currency else {})
        return read_balances(answer) if isinstance(answer, Answer) else answer

    def close(self) -> None:
        """Close the idle connections. A later call opens new ones."""
        self._transport.close()

    def _ask(self, path: str, fields: dict[str, Any]) -> Answer | Failure:
        """Post a question: EPAY's refusal counts whatever the HTTP status it comes with."""
        return self._post(path, fields, read_refusal=self._read_refusal)

    def _post(self, path: str, fields: dict[str, Any], **sending: Any) -> Answer | Failure:
        param = {"epayAccount": self._config.account, "version": VERSION, **fields}
        body = self._transport.post(path, self._write(param), **sending)
        return self._read(body) if isinstance(body, bytes) else body

    def _read(self, body: bytes) -> Answer | Refused | OutcomeUnknown:
        config = self._config
        demanded = config.demand_response_signature
        return read_answer(body, config.api_keys, config.nested, demand_signature=demanded)

    def _read_refusal(self, body: bytes) -> Refused | None:
        answer = self._read(body)
        return answer if isinstance(answer, Refused) else None

    def _write(self, param: dict[str, Any]) -> bytes:
        try:
            envelope = {"param": param, "sign": sign(param, self._api_key, self._config.nested)}
            return json.dumps(envelope, separators=(",", ":"), allow_nan=False).encode("ascii")
        except TypeError as error:
            raise ValueError("the request has a value that JSON cannot encode") from error
