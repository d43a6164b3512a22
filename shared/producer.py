"""Asking for payouts within the app's own transaction: for an app that reaches our database.

The row is the request: it is on disk if and only if what the app did with it is. docs/producers.md
says how to use it, and what is promised.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

import structlog
from celery import Celery
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from shared.clock import utcnow
from shared.config.builders import build_cipher
from shared.config.settings import Settings
from shared.contract import (
    QUEUE_PAYOUTS,
    TASK_SUBMIT,
    RequestError,
    RequestResult,
)
from shared.domain.intake import conflict, payout_from_request
from shared.messaging.celery_config import PUBLISH_RETRY, make_celery
from shared.storage import after_commit
from shared.storage.bulk_insert import insert_or_compare
from shared.storage.encryption import NO_ENCRYPTION, AccountCipher

log = structlog.get_logger(__name__)

Publish = Callable[[int], None]


class Conflict(Exception):
    """The merchant_order_no stands for a payout with other fields; `error` names them."""

    def __init__(self, merchant_order_no: str, error: RequestError) -> None:
        super().__init__(f"{merchant_order_no}: {error['message']}")
        self.merchant_order_no = merchant_order_no
        self.error = error


class Producer:
    """Asks for payouts of one EPAY account. Make one for the process; safe between threads."""

    def __init__(
        self,
        *,
        account: str,
        publish: Publish,
        vault: AccountCipher = NO_ENCRYPTION,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """Take the parts; `from_settings` makes them.

        Args:
            publish: puts the hint for a payout's id on the broker; whatever it raises is logged.
        """
        self._account = account
        self._publish = publish
        self._vault = vault
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings, celery: Celery | None = None) -> Self:
        """A producer with the settings of the service: EPAY_ACCOUNT, REDIS_URL, and the keys.

        Args:
            celery: an app of yours that sends to the same broker; without it one is made.

        Raises:
            SettingsError: a setting is missing or wrong.
        """
        settings.need("epay_account", "redis_url")
        app = celery or make_celery("payouts-producer", settings)
        return cls(
            account=settings.epay_account,
            publish=lambda payout_id: publish_submit(app, payout_id),
            vault=build_cipher(settings),
        )

    def enqueue(self, within: Session | Connection, /, **asked: Any) -> RequestResult:
        """Ask for a payout within the transaction of `within`, which the app commits.

        Args:
            within: a Session or Connection of the app on the service's database.
            asked: the kwargs of `payouts.request`.

        Returns:
            As the task's result: `queued` for a new payout; today's status, and `duplicate`, for
            one that was asked for before with the same fields.

        Raises:
            InvalidRequest: it is no request; the transaction is untouched and goes on.
            Conflict: the order number is another payout's; the transaction is untouched too.
        """
        now = self._clock()
        _, wanted = payout_from_request(
            asked, account=self._account, now=now, nonce=secrets.token_hex(16)
        )
        connection = within if isinstance(within, Connection) else within.connection()
        (found,) = insert_or_compare(connection, [wanted], now=now, due_at=now, vault=self._vault)
        if found.conflicting:
            raise Conflict(wanted.merchant_order_no, conflict(list(found.conflicting)))
        if found.is_new:
            after_commit.after_commit(
                connection, lambda: self._publish_after_commit(found.payout.id)
            )
        return RequestResult(
            merchant_order_no=wanted.merchant_order_no,
            status=found.payout.status.value,
            duplicate=not found.is_new,
        )

    def _publish_after_commit(self, payout_id: int) -> None:
        try:
            self._publish(payout_id)
        except Exception as error:  # noqa: BLE001 - committed: it must look so, and the sweep sees it
            log.warning("hint_not_published", payout_id=payout_id, error=type(error).__name__)


def publish_submit(celery: Celery, payout_id: int) -> None:
    """Tell the workers of a queued payout that no sweep has claimed.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    celery.send_task(
        TASK_SUBMIT,
        kwargs={"payout_id": payout_id, "lease": None},
        queue=QUEUE_PAYOUTS,
        retry_policy=PUBLISH_RETRY,
    )
