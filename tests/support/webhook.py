"""The webhook in this process, with a broker that records what is published."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from pydantic import SecretStr

from shared.config.settings import Settings
from shared.epay.callbacks import sign_callback
from shared.epay.signing import NestedForm
from shared.messaging.callback_message import CallbackMessage
from shared.redis_client import RedisUnavailable
from webhook.app import assemble
from webhook.publisher import CallbackPublisher

ACCOUNT = "test2020@epay.com"
KEY, PREVIOUS = "TESTKEY123", "OLDKEY456"
PATH = "/epay/callback"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass
class RecordingBroker(CallbackPublisher):
    """A broker that records messages, or is unavailable."""

    away: bool = False
    taken: list[CallbackMessage] = field(default_factory=list)

    def publish(self, message: CallbackMessage) -> None:
        if self.away:
            raise RedisUnavailable
        self.taken.append(message)

    @property
    def believed(self) -> list[CallbackMessage]:
        """The messages published as verified."""
        return [message for message in self.taken if message.verified]


def settings(redis_url: str, **changes: Any) -> Settings:
    """Settings with which the webhook starts; the environment is not read."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "epay_account": ACCOUNT,
        "epay_api_key": SecretStr(KEY),
        "log_format": "json",
    }
    return Settings(_env_file=None, **(values | changes))


def app(redis_url: str, broker: CallbackPublisher, **changes: Any) -> Flask:
    """The webhook with that broker."""
    return assemble(settings(redis_url, **changes), broker)


def fields(**changes: str) -> dict[str, str]:
    """The fields of a documented callback, not signed."""
    return {
        "epayAccount": ACCOUNT,
        "merchantOrderNo": "order-1",
        "epayOrderNo": "E1",
        "pinCode": "",
        "amount": "10.50",
        "paymentAmount": "10.50",
        "paymentCurrency": "USD",
        "receiveAmount": "70.65",
        "receiveCurrency": "CNY",
        "settlementCurrency": "USD",
        "fee": "0.10",
        "rate": "1.000000",
        "status": "7",
        "accountNo": "U1234567890",
        "payerAccount": "payer@epay.com",
        "remark": "thanks",
        "extendFields": '{"a":"b"}',
        "message": '{"b":"2","a":"1"}',
        "isForward": "1",
    } | changes


def signed(key: str = KEY, /, **changes: str) -> dict[str, str]:
    """The same with a right signature."""
    bare = fields(**changes)
    return bare | {"sign": sign_callback(bare, key, NestedForm.COMMA)}


def say(text: str) -> None:
    """Print a measurement; pytest shows it with -s."""
    sys.stdout.write(f"\n  {text}")
