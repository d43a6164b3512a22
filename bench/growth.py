"""Experiment 4: what a sweep and a request cost when the tables have grown."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import Engine

from bench import growth_data
from bench.environment import Stage
from bench.explain import catching, plan
from bench.interleave import Section
from bench.payloads import ACCOUNT, CURRENCY, FEE, request_kwargs
from bench.ratios import Criterion
from shared.config.builders import build_policy
from shared.config.settings import Settings
from shared.domain.circuit_breaker import BreakerRules, MemoryBreakerStore
from shared.domain.gateway import CreateOrder, OrderAnswer, OutcomeUnknown, Report
from shared.domain.notifications import Message
from shared.domain.policy import Policy
from shared.storage.engine import make_engine
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from worker.context import Context, QueryPool
from worker.database_retry import DatabaseRetry
from worker.jobs.request import request
from worker.jobs.sweep import sweep
from worker.send_guard.circuit_breaker import CircuitBreaker
from worker.send_guard.guard import SendGuard
from worker.send_guard.pauses import PauseCache

DUE = 1000
_SWEEPS = 25
_WARM_UP = 5
_REQUESTS = 1000
_EXPLAINED = "explained"
_SOON = "now() - interval '1 hour'"
_LATER = "now() + interval '1 day' + id * interval '1 ms'"
_MAKE_DUE = f"""
UPDATE payout SET due_at = {_SOON} WHERE id IN (
    SELECT id FROM payout WHERE status = 'processing' ORDER BY id DESC LIMIT %s)
"""
_PUT_BACK = f"UPDATE payout SET due_at = {_LATER} WHERE due_at < now() + interval '1 hour'"


class PromptGateway:
    """Takes every order at once."""

    def create(self, order: CreateOrder, **_: object) -> OrderAnswer:
        """EPAY has it."""
        return Report(
            source="create",
            epay_account=ACCOUNT,
            merchant_order_no=order.merchant_order_no,
            epay_order_no=f"2311{order.merchant_order_no}",
            status="1",
            amount=Decimal(order.amount),
            currency=CURRENCY,
            fee=Decimal(FEE),
        )

    def query(self, merchant_order_no: str) -> OrderAnswer:
        """Nobody asks."""
        return OutcomeUnknown(merchant_order_no)


def run(stage: Stage, sizes: Sequence[int], rounds: int, say: Callable[[str], None]) -> Section:
    """Compare the tables of two sizes, in turn."""
    with ExitStack() as stack:
        small, large = map(_name, sizes)
        urls = {_name(size): stack.enter_context(stage.database()) for size in sizes}
        for size in sizes:
            say(f"  making {_name(size)} and {size * growth_data.EVENTS_EACH:,} events")
            growth_data.make(urls[_name(size)], size)
        contexts = {name: stack.enter_context(_context(url)) for name, url in urls.items()}
        _sweeps(urls, contexts, _WARM_UP)
        found = []
        for number in range(1, rounds + 1):
            sweeps = _sweeps(urls, contexts, _SWEEPS)
            requests = _requests(urls, contexts, f"r{number}")
            found.append(
                {name: {"sweep_ms": sweeps[name], "request_ms": requests[name]} for name in urls}
            )
            for name, figures in found[-1].items():
                shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
                say(f"  round {number}  {name:<18} {shown}")
        return Section(
            name="growth",
            title="Grown tables",
            setting=f"{large} with {growth_data.EVENTS_EACH} events each, beside {small}; a sweep "
            f"with {DUE:,} due claims them and makes their messages; a request is the whole body "
            "of `payouts.request` before a gateway that answers at once",
            columns={"sweep_ms": "sweep ms", "request_ms": "request ms"},
            rounds=found,
            criteria=[
                Criterion("sweep, large to small", "sweep_ms", large, small, "at most", 1.3),
                Criterion("request, large to small", "request_ms", large, small, "at most", 1.1),
            ],
            notes=_plans(urls[large], contexts[large]),
            extra={"bytes": {name: growth_data.sizes(url) for name, url in urls.items()}},
        )


def _name(size: int) -> str:
    return f"{size:,} payouts"


def _sweeps(
    urls: Mapping[str, str], contexts: Mapping[str, Context], times_each: int
) -> dict[str, float]:
    """The median time of a sweep, in milliseconds, in turn."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(times_each):
        for name, url in urls.items():
            _make_due(url)
            begun = time.perf_counter()
            claimed = sweep(contexts[name])
            times[name].append((time.perf_counter() - begun) * 1000)
            if claimed["query"] != DUE:
                raise RuntimeError(f"the sweep of {name} claimed {claimed}, not {DUE}")
    return {name: median(values) for name, values in times.items()}


def _requests(
    urls: Mapping[str, str], contexts: Mapping[str, Context], prefix: str
) -> dict[str, float]:
    """The median time of a request, in milliseconds, in turn."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    for number in range(_REQUESTS):
        for name in urls:
            asked = request_kwargs(f"{prefix}-{number:06}")
            begun = time.perf_counter()
            result = request(contexts[name], asked, uuid.uuid4().hex)
            times[name].append((time.perf_counter() - begun) * 1000)
            if result["status"] != "processing":
                raise RuntimeError(f"a request ended {result['status']}")
    return {name: median(values) for name, values in times.items()}


def _make_due(url: str) -> None:
    """Put back what the last sweep claimed, and let the newest be due, on tidy tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PUT_BACK)
        connection.execute("VACUUM payout")
        connection.execute(_MAKE_DUE, [DUE])


def _plans(url: str, context: Context) -> dict[str, str]:
    """The plans of a sweep's statements with `DUE` due, and of a request's."""
    engine = context.store.engine
    found: dict[str, str] = {}
    _make_due(url)
    with catching(engine) as caught:
        sweep(context)
    for number, statement in enumerate(caught, 1):
        _make_due(url)
        found[f"Sweep, statement {number} of {len(caught)}"] = plan(engine, statement)
    with catching(engine) as caught:
        request(context, request_kwargs(_EXPLAINED), uuid.uuid4().hex)
    for number, statement in enumerate(caught, 1):
        found[f"Request, statement {number} of {len(caught)}"] = plan(engine, statement, _another)
    return found


def _another(parameters: Any) -> Any:
    """The same for an order number that is not taken yet."""
    if not isinstance(parameters, dict):
        return parameters
    return {
        name: value.replace(f'"{_EXPLAINED}"', f'"{_EXPLAINED}-2"')
        if isinstance(value, str)
        else value
        for name, value in parameters.items()
    }


@contextmanager
def _context(url: str) -> Iterator[Context]:
    gateway = PromptGateway()
    engine: Engine = make_engine(url)
    asking = QueryPool(gateway, 1)
    try:
        yield Context(
            account=ACCOUNT,
            policy=_policy(),
            total_timeout=timedelta(seconds=25),
            store=PayoutStore(engine),
            gateway=gateway,
            query_many=asking,
            publish=_nowhere,
            publish_outcome=_nobody,
            database_retry=DatabaseRetry(5),
            send_guard=_send_guard(),
            refusal_pause=RefusalPause(engine, ACCOUNT),
            sweep_batch=DUE,
            clock=lambda: datetime.now(UTC),
        )
    finally:
        asking.close()
        engine.dispose()


def _send_guard() -> SendGuard:
    """One that lets every payout pass."""
    breaker = CircuitBreaker(MemoryBreakerStore(time.time), BreakerRules())
    return SendGuard(PauseCache(list), breaker)


def _policy() -> Policy:
    return build_policy(Settings(_env_file=None))


def _nowhere(task: str, kwargs: Mapping[str, Any]) -> None:
    del task, kwargs


def _nobody(message: Message) -> None:
    del message
