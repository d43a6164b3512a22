"""Requests for payouts within the transaction of an app that shares the service's database.

The payout's row is the request: it is stored if and only if the app's transaction commits.
docs/producers.md has the usage and the guarantees.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

import structlog
from celery import Celery
from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from shared.clock import utcnow
from shared.config.builders import build_accounts, build_cipher
from shared.config.settings import Settings, SettingsError
from shared.contract import (
    QUEUE_PAYOUTS,
    TASK_SUBMIT,
    InvalidRequest,
    RequestError,
    RequestResult,
)
from shared.domain.accounts import ConfiguredAccounts
from shared.domain.intake import alike, conflict, payout_from_request
from shared.messaging.celery_config import PUBLISH_RETRY, make_celery
from shared.messaging.owner import refuse_other_owner
from shared.storage.after_commit import after_commit
from shared.storage.bulk_insert import insert_or_compare
from shared.storage.encryption import NO_ENCRYPTION, AccountCipher

log = structlog.get_logger(__name__)

Publish = Callable[[int], None]


class Conflict(Exception):
    """The merchant_order_no belongs to a payout with other fields; `error` names the fields."""

    def __init__(self, merchant_order_no: str, error: RequestError) -> None:
        super().__init__(f"{merchant_order_no}: {error['message']}")
        self.merchant_order_no = merchant_order_no
        self.error = error


class Producer:
    """Requests payouts. One for the process; threads may share it.

    With a Session, a message to the workers is published when the session has committed. With a
    Core Connection none is: the sweep finds the payout within `SWEEP_SECONDS`. The sweep also finds
    payouts whose message was lost.
    """

    def __init__(
        self,
        *,
        accounts: ConfiguredAccounts,
        publish: Publish,
        cipher: AccountCipher = NO_ENCRYPTION,
        allow_alike: bool = False,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        """Take the parts; `from_settings` makes them.

        Args:
            accounts: the accounts that may be requested, with their gateways.
            publish: publishes the message for a payout's id; its errors are logged, not raised.
            allow_alike: the setting ALLOW_ALIKE.
        """
        self._accounts = accounts
        self._publish = publish
        self._cipher = cipher
        self._allow_alike = allow_alike
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings, celery: Celery | None = None) -> Self:
        """A producer with the settings of the service: its accounts, REDIS_URL, and the keys.

        Args:
            celery: a Celery app that sends to the same broker; None: one is made.

        Raises:
            SettingsError: a setting is missing or wrong, or Redis belongs to another deployment.
        """
        settings.need("epay_account", "redis_url")
        if (problem := refuse_other_owner(settings)) is not None:
            raise SettingsError(problem)
        app = celery or make_celery("payouts-producer", settings)
        return cls(
            accounts=build_accounts(settings),
            publish=lambda payout_id: publish_submit(app, payout_id),
            cipher=build_cipher(settings),
            allow_alike=settings.allow_alike == "on",
        )

    def enqueue(
        self, within: Session | scoped_session[Any] | Connection, /, **asked: Any
    ) -> RequestResult:
        """Request a payout within the transaction of `within`, which the app commits.

        Args:
            within: a Session or Connection of the app on the service's database.
            asked: the kwargs of `payouts.request`.

        Returns:
            The task's result: `queued` for a new payout; the current status, and `duplicate`, for
            one that was requested before with the same fields.

        Raises:
            InvalidRequest: the kwargs are invalid, or the order number is alike an earlier one; the
                transaction is unchanged and usable.
            Conflict: the order number belongs to a payout with other fields; as above.
        """
        now = self._clock()
        request, wanted = payout_from_request(
            asked,
            accounts=self._accounts,
            now=now,
            nonce=secrets.token_hex(16),
        )
        connection = within if isinstance(within, Connection) else within.connection()
        (found,) = insert_or_compare(
            connection,
            [wanted],
            now=now,
            due_at=now,
            cipher=self._cipher,
            accounts=self._accounts,
            allow_alike=self._allow_alike,
        )
        if found.alike is not None:
            raise InvalidRequest(alike(found.alike), request.notify)
        if found.conflicting:
            raise Conflict(wanted.merchant_order_no, conflict(list(found.conflicting)))
        if found.is_new and not isinstance(within, Connection):
            after_commit(within, lambda: self._publish_after_commit(found.payout.id))
        return RequestResult(
            merchant_order_no=wanted.merchant_order_no,
            status=found.payout.status.value,
            duplicate=not found.is_new,
        )

    def _publish_after_commit(self, payout_id: int) -> None:
        try:
            self._publish(payout_id)
        except Exception as error:  # noqa: BLE001 - the app has committed; the sweep finds the row
            log.warning("submit_not_published", payout_id=payout_id, error=type(error).__name__)


def publish_submit(celery: Celery, payout_id: int) -> None:
    """Publish the message that has a worker submit a queued payout which no sweep has claimed.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    celery.send_task(
        TASK_SUBMIT,
        kwargs={"payout_id": payout_id, "lease": None},
        queue=QUEUE_PAYOUTS,
        retry_policy=PUBLISH_RETRY,
    )
