"""What a broker that loses messages costs, by the way of asking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from kombu.exceptions import OperationalError

from devstack.redis import LocalRedis
from tests.support.durable_producers import WAYS, Ground, code_with
from tests.support.factories import request_kwargs
from tests.support.service import bare_environment

if TYPE_CHECKING:
    from tests.e2e.conftest import MakeService

PAYOUTS = 60
TIMEOUT = 120


@pytest.fixture(scope="module")
def ground(make_service: MakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The service, and a broker between it and the app."""
    running = make_service()
    running.start_beat()
    running.start_worker()
    with LocalRedis() as apart:
        folder: Path = tmp_path_factory.mktemp("shop")
        yield Ground(
            running.database_url,
            running.redis_url,
            apart.url,
            running.gateway,
            running.processes,
            folder,
            bare_environment(),
        )


@pytest.mark.parametrize("way", WAYS)
def test_every_third_message_is_lost(ground: Ground, way: str) -> None:
    """All are paid once with either durable way; with neither, a third is not even known."""
    WAYS[way](ground, [f"{way}-{nth}" for nth in range(PAYOUTS)], TIMEOUT)


class Enough(Exception):
    """The loop has gone round often enough."""


def test_the_loop_outlives_its_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, and what it could not send stays to be asked for."""
    monkeypatch.setenv("BROKER", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite"))
    code: dict[str, Any] = {"__name__": "shop"}
    exec(code_with("# shop.py"), code)
    db = code["database"]()
    monkeypatch.setitem(code, "database", lambda: db)  # closed below, although the loop is left
    with db:
        code["ask"](db, **request_kwargs("order-1"))
    monkeypatch.setattr(code["time"], "sleep", mock.Mock(side_effect=Enough))
    away = mock.Mock(
        side_effect=OperationalError("refused")
    )  # after seconds of Celery's own trying
    monkeypatch.setattr(code["app"], "send_task", away)
    with pytest.raises(Enough):
        code["main"]()
    assert "the broker is away" in capsys.readouterr().out
    ((status, ask_at),) = db.execute("SELECT status, ask_at FROM payout_asked").fetchall()
    assert status is None
    assert ask_at is not None
    db.close()
    code["app"].close()
