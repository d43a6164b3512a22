"""Callbacks with all that must go no further, and what the workers get of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.contract import QUEUE_RECONCILE
from tests.support import webhook
from tests.support.webhook import ACCOUNT, FORM, KEY, PREVIOUS

SECRETS = (KEY, PREVIOUS, "pin-90210", "U1234567890", "payer@epay.com", "birthday money")
PRIVATE = {"pinCode": "pin-90210", "remark": "birthday money"}


def fields(**changes: str) -> dict[str, str]:
    """A callback as section 5 has it, with all that must go no further."""
    return webhook.fields(**(PRIVATE | changes))


def signed(key: str = KEY, /, **changes: str) -> dict[str, str]:
    """The same with a right signature."""
    return webhook.signed(key, **(PRIVATE | changes))


def post(client: FlaskClient, data: Any, content_type: str = FORM, **more: Any) -> TestResponse:
    return client.post("/epay/callback", data=data, content_type=content_type, **more)


def queue(redis_url: str) -> list[tuple[str, dict[str, Any]]]:
    """Task and kwargs of what the workers would get, oldest first; all of it as text, too."""
    with redis.Redis.from_url(redis_url) as server:
        raw = server.lrange(QUEUE_RECONCILE, 0, -1)
    found = []
    for message in map(json.loads, reversed(raw)):
        text = base64.b64decode(message["body"]).decode() + json.dumps(message["headers"])
        assert not [secret for secret in SECRETS if secret in text]
        found.append((message["headers"]["task"], json.loads(base64.b64decode(message["body"]))[1]))
    return found


CLAIMS = {
    "merchant_order_no": "order-1",
    "epay_account": ACCOUNT,
    "epay_order_no": "E1",
    "status": "7",
    "amount": "10.50",
    "currency": "USD",
    "fee": "0.10",
}
