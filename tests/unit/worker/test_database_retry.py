"""Waiting for PostgreSQL in place: for how long, for what, and how often it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import DataError, OperationalError
from structlog.testing import capture_logs

from worker import database_retry as patience_module
from worker.database_retry import DatabaseRetry, DatabaseUnavailable


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is logged; a fresh logger, for one that was used before may have kept its ways."""
    monkeypatch.setattr(patience_module, "log", structlog.get_logger())
    with capture_logs() as entries:
        yield entries


def gone() -> OperationalError:
    return OperationalError("SELECT", None, Exception("server closed the connection"))


def failing(*errors: Exception) -> Callable[[], str]:
    """A body that fails so, and then works."""
    left = iter(errors)

    def body() -> str:
        for error in left:
            raise error
        return "done"

    return body


def always() -> str:
    raise gone()


def told(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


def test_nothing_wrong(logs: list[Any]) -> None:
    """A body that works is run once, and nothing is told."""
    assert DatabaseRetry(60).run(failing()) == "done"
    assert told(logs) == []


def test_away_for_a_moment(logs: list[Any]) -> None:
    """A body that finds PostgreSQL away is run again; the outage is told once, and its end."""
    assert DatabaseRetry(60).run(failing(gone(), gone())) == "done"
    assert told(logs) == ["database_away", "database_back"]


def test_away_for_too_long(logs: list[Any]) -> None:
    """When the max_wait is over the caller is told why."""
    with pytest.raises(DatabaseUnavailable) as caught:
        DatabaseRetry(0.3).run(always)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert told(logs) == ["database_away"]


def test_other_errors_are_not_waited_for(logs: list[Any]) -> None:
    """A mistake of ours comes out at once."""
    with pytest.raises(DataError):
        DatabaseRetry(60).run(failing(DataError("SELECT", None, Exception())))
    assert told(logs) == []


def test_one_outage_for_many_tasks(logs: list[Any]) -> None:
    """Tasks that find PostgreSQL away one after the other are one outage."""
    max_wait = DatabaseRetry(0.2)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            max_wait.run(always)
    assert max_wait.run(failing()) == "done"
    assert max_wait.run(failing()) == "done"
    assert told(logs) == ["database_away", "database_back"]


def test_giving_up_inside_a_task_is_no_return(logs: list[Any]) -> None:
    """A task that ends well although its answer could not be recorded has not found PostgreSQL."""
    max_wait = DatabaseRetry(0.2)

    def task() -> str:
        with pytest.raises(DatabaseUnavailable):
            max_wait.run(always)
        return "done"

    assert max_wait.run(task) == "done"
    assert told(logs) == ["database_away"]
    assert max_wait.run(failing()) == "done"
    assert told(logs) == ["database_away", "database_back"]
