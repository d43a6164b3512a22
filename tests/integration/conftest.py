"""The task bodies against a real PostgreSQL and the sandbox gateway over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState
from shared.domain.policy import Policy
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from shared.storage.engine import make_engine
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from tests.support.factories import request_kwargs
from tests.support.send_guard import AllowAll
from worker.context import Context, QueryPool
from worker.database_retry import DatabaseRetry
from worker.jobs.request import request

ACCOUNT = "test2020@epay.com"
API_KEY = "TESTKEY123"
NOT_FOUND = "2001"
REFUSED = "2005"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=10)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> PayoutStore:
    return PayoutStore(engine)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A sandbox gateway that pays a duplicate create a second time."""
    config = SandboxConfig(
        duplicates=Duplicates.PAY, pay_after=0.05, callback_scale=0.01, silence_seconds=3
    )
    with Gateway(config) as gateway:
        yield gateway


@dataclass
class World:
    """A worker's context on a real database, and what its tasks published."""

    context: Context
    gateway: Gateway
    engine: Engine
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Tasks and their kwargs."""
    outcomes: list[Message] = field(default_factory=list)
    """Messages to the requesting app."""

    def ask(self, order_no: str = "order-1", **changes: Any) -> Mapping[str, Any]:
        """Run `payouts.request` for a valid request."""
        kwargs = request_kwargs(order_no) | changes
        return request(self.context, kwargs, uuid.uuid4().hex)

    def row(self, order_no: str = "order-1") -> PayoutState:
        """The stored payout."""
        found = self.context.store.find(ACCOUNT, order_no)
        assert found is not None, f"no payout {order_no}"
        return found

    def events(self, order_no: str = "order-1") -> list[Any]:
        """The rows of the payout's journal, in order."""
        with self.engine.connect() as connection:
            return connection.execute(
                text(
                    "SELECT e.* FROM payout_event e JOIN payout p ON p.id = e.payout_id"
                    " WHERE p.merchant_order_no = :no ORDER BY e.sequence"
                ),
                {"no": order_no},
            ).all()

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(engine: Engine, gateway: Gateway) -> Iterator[MakeWorld]:
    """Make a world with a policy of its own: `make_world(visibility_delay=timedelta(...))`."""
    closing: list[Callable[[], None]] = []

    def make(*, notify_url: str | None = None, read_timeout: float = 30.0, **policy: Any) -> World:
        defaults: dict[str, Any] = {
            "not_found_codes": frozenset({NOT_FOUND}),
            "refused_codes": frozenset({REFUSED}),
        }
        client = EpayClient(
            EpayConfig(
                base_url=gateway.base_url,
                account=ACCOUNT,
                api_key=SecretStr(API_KEY),
                notify_url=notify_url,
                connect_timeout=30,
                read_timeout=read_timeout,
                total_timeout=60,
            )
        )
        asking = QueryPool(client, 8)
        closing.extend([asking.close, client.close])
        published: list[tuple[str, dict[str, Any]]] = []
        outcomes: list[Message] = []
        context = Context(
            account=ACCOUNT,
            policy=Policy(**(defaults | policy)),
            total_timeout=timedelta(seconds=5),
            store=PayoutStore(engine),
            gateway=client,
            query_many=asking,
            publish=lambda task, kwargs: published.append((task, dict(kwargs))),
            publish_outcome=outcomes.append,
            database_retry=DatabaseRetry(5),
            send_guard=AllowAll(),
            refusal_pause=RefusalPause(engine, ACCOUNT),
        )
        return World(context, gateway, engine, published, outcomes)

    yield make
    for close in closing:
        close()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()
