"""1,000 payouts asked for over a broker that loses every third message (docs/producers.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from sandbox.server import Gateway
from sandbox.settings import Duplicates, SandboxConfig
from shared.storage import migrate
from tests.resilience.chaos.environment import start
from tests.support.durable_producers import WAYS, Ground

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

PAYOUTS = 1000


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The whole service before a gateway that pays what it is sent, twice if it is sent twice."""
    folder: Path = tmp_path_factory.mktemp("lossy")
    config = SandboxConfig(duplicates=Duplicates.PAY, pay_after=0.2, callback_scale=0.05)
    with (
        LocalPostgres() as postgres,
        LocalRedis() as redis,
        LocalRedis() as apart,
        Gateway(config) as gateway,
        ProcessGroup() as processes,
    ):
        migrate.upgrade(postgres.url)
        start(processes, postgres, redis, gateway, folder)
        yield Ground(
            postgres.url,
            redis.url,
            apart.url,
            gateway,
            processes,
            folder,
            os.environ,
            ask_again="5",
        )


@pytest.mark.parametrize("way", WAYS)
def test_every_third_message_of_a_thousand_is_lost(ground: Ground, way: str) -> None:
    """Either durable way: all accepted, paid once. Neither: 333 are lost, and nobody knows."""
    WAYS[way](ground, [f"{way}-{nth}" for nth in range(PAYOUTS)], 180)
