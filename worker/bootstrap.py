"""What one worker process holds: its settings, its context, made when the first task needs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import redis
import structlog
from celery import signals
from kombu.exceptions import OperationalError

from shared import contract
from shared.config.accounts import account_settings
from shared.config.builders import (
    build_account,
    build_accounts,
    build_cipher,
    build_epay_config,
    build_policy,
)
from shared.config.settings import Settings, load
from shared.domain.notifications import Message
from shared.epay.client import EpayClient
from shared.messaging.celery_config import KOMBU_UNACKED_KEYS, PUBLISH_RETRY, UNACKED_KEYS
from shared.observability.logging import configure_logging
from shared.redis_client import RedisClient
from shared.storage import deployment
from shared.storage.engine import make_engine
from shared.storage.outbox import QueueRefused
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from worker.broker.peek import oldest_lease
from worker.broker.shared_unacked import start_restoring
from worker.celery import app
from worker.context import AccountAccess, Context, QueryPool
from worker.database_retry import DatabaseRetry
from worker.deployment import make_watch
from worker.log_filters import install_log_filters
from worker.send_guard.factory import make_acquire, make_rate_limiter, make_send_guard
from worker.send_guard.witness import SendWitness
from worker.startup import exit_on_error, run_startup_checks

log = structlog.get_logger(__name__)


class WorkerRuntime:
    """The long-lived parts of a worker process."""

    def __init__(self, settings: Settings) -> None:
        accounts = build_accounts(settings)
        every = {build_account(one): one for one in account_settings(settings)}
        self._redis = RedisClient(settings.redis_url)
        self._engine = make_engine(settings.database_url, pool_size=settings.db_pool_size)
        autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        watch = make_watch(settings, autocommit, self._redis)
        policy = build_policy(settings)
        witness = SendWitness(
            self._redis,
            policy.resend_horizon,
            lambda *claim: deployment.remembers(autocommit, *claim),
            watch.current,
            lambda now: deployment.note_missed_mark(autocommit, now),
        )
        rate_limiter = make_rate_limiter(settings, self._redis)
        acquire = make_acquire(rate_limiter)
        self._clients = {home: EpayClient(build_epay_config(one)) for home, one in every.items()}
        self._query_pools = {
            home: QueryPool(client, settings.epay_query_batch, acquire)
            for home, client in self._clients.items()
        }
        access = {
            home: AccountAccess(
                client, self._query_pools[home], build_policy(every[home], accounts)
            )
            for home, client in self._clients.items()
        }
        default = accounts.first
        own = access.pop(default)
        self.context = Context(
            account=default.account,
            policy=own.policy,
            total_timeout=timedelta(seconds=settings.total_timeout),
            store=PayoutStore(
                self._engine,
                build_cipher(settings),
                group_commit=settings.db_group_commit == "on",
                several_accounts=len(every) > 1,
                allow_alike=settings.allow_alike == "on",
            ),
            gateway=own.gateway,
            query_many=own.query_many,
            others=access,
            publish=publish,
            publish_outcome=publish_outcome,
            oldest_submit=lambda: oldest_lease(self._redis, contract.QUEUE_SUBMIT),
            database_retry=DatabaseRetry(settings.database_wait),
            send_guard=make_send_guard(
                settings,
                watch.pauses,
                self._redis,
                own.gateway.limit,
                rate_limiter,
                accounts,
            ),
            refusal_pause=RefusalPause(self._engine, default.account),
            witness=witness,
            find_forgotten_send=witness.look,
            watch_database=lambda now: watch.sweep(witness, now),
            sweep_batch=settings.sweep_batch,
            sweep_spacing=timedelta(seconds=settings.sweep_seconds / 2),
            query_batch=settings.epay_query_batch,
            books_after=timedelta(seconds=settings.books_after_seconds),
            books_sample=settings.books_sample,
        )

    def close(self) -> None:
        """Let go of connections and threads."""
        for pool in self._query_pools.values():
            pool.close()
        for client in self._clients.values():
            client.close()
        self._redis.close()
        self._engine.dispose()


_lock = threading.Lock()
_runtime: WorkerRuntime | None = None


def runtime() -> WorkerRuntime:
    """The parts of this process; made at the first call, so after any fork."""
    global _runtime  # noqa: PLW0603 - one process, one set of connections
    if _runtime is None:
        with _lock:
            if _runtime is None:
                _runtime = WorkerRuntime(load())
    return _runtime


def publish(task: str, kwargs: Mapping[str, Any]) -> None:
    """Put one of our own tasks on its queue."""
    _send(task, kwargs, contract.QUEUE_OF[task])


def _send(task: str, kwargs: Mapping[str, Any], queue: str) -> None:
    app.send_task(task, kwargs=dict(kwargs), queue=queue, retry_policy=PUBLISH_RETRY)


_NOT_FOR_APPS = frozenset({*KOMBU_UNACKED_KEYS.values(), *UNACKED_KEYS.values()})
"""A list under one of these keys would stop every worker that keeps its messages there."""

_OF_ALL_QUEUES = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
_refusing: set[str] = set()
"""Queues that refused their last message: logged once, not at every round."""


def publish_outcome(message: Message) -> None:
    """Send a message to a requesting app.

    Raises:
        QueueRefused: Redis answers, but takes no message for this queue.
    """
    queue = message.queue
    if queue in _NOT_FOR_APPS:
        log.error("outcome_has_no_queue", queue=queue, task=message.task)
        return
    try:
        _send(message.task, message.kwargs, queue)
    except (OperationalError, redis.ResponseError) as error:
        cause = error.__cause__ if isinstance(error, OperationalError) else error
        if not isinstance(cause, redis.ResponseError) or isinstance(cause, _OF_ALL_QUEUES):
            raise
        if queue not in _refusing:
            log.warning("queue_refuses_outcomes", queue=queue, error=type(cause).__name__)
        _refusing.add(queue)
        raise QueueRefused(queue) from error
    _refusing.discard(queue)


@signals.celeryd_after_setup.connect
@exit_on_error("payout worker")
def _take_submits_too(instance: Any, **_: object) -> None:
    """A worker of QUEUE_PAYOUTS takes QUEUE_SUBMIT too, also under a command line of before."""
    queues = instance.app.amqp.queues
    if contract.QUEUE_PAYOUTS in queues.consume_from:
        queues.select_add(contract.QUEUE_SUBMIT)


@signals.worker_init.connect
@exit_on_error("payout worker")
def _check_at_start(**_: object) -> None:
    settings = load()
    configure_logging(settings.log_format)
    run_startup_checks(settings)


@signals.beat_init.connect
@exit_on_error("beat")
def _check_at_start_of_beat(**_: object) -> None:
    settings = load()
    configure_logging(settings.log_format)
    install_log_filters()
    run_startup_checks(settings, "beat", is_worker=False)


@signals.worker_ready.connect
def _restore_messages_of_earlier_releases(**_: object) -> None:
    start_restoring(app, load().broker_visibility_timeout)


@signals.setup_logging.connect
@exit_on_error("Celery process")
def _set_up_logging(**_: object) -> None:
    configure_logging(load().log_format)
    install_log_filters()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    global _runtime  # noqa: PLW0603 - see runtime()
    if _runtime is not None:
        _runtime.close()
        _runtime = None
