"""Beat's scheduler: ticks by the monotonic clock, whatever the wall clock does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery

from worker.ticker import MonotonicScheduler


class Recorder(MonotonicScheduler):
    """A scheduler that notes what it would publish."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.published: list[str] = []
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        del producer
        self.published.append(entry.name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, at [0]."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def scheduler(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(MonotonicScheduler, "producer", None)
    app = Celery("test", set_as_current=False)
    app.conf.beat_schedule = {
        "often": {"task": "t", "schedule": 1.0},
        "seldom": {"task": "t", "schedule": 5.0},
    }
    return Recorder(app, max_interval=4)


def test_every_entry_comes_at_once_and_then_in_its_time(
    scheduler: Recorder, clock: list[float]
) -> None:
    assert scheduler.tick() == 1.0
    for _ in range(5):
        clock[0] += 1
        scheduler.tick()
    assert scheduler.published.count("often") == 6
    assert scheduler.published.count("seldom") == 2


def test_a_tick_before_its_time_publishes_nothing(scheduler: Recorder, clock: list[float]) -> None:
    scheduler.tick()
    clock[0] += 0.25
    assert scheduler.tick() == 0.75
    assert len(scheduler.published) == 2


def test_ticks_that_were_missed_are_not_made_up(scheduler: Recorder, clock: list[float]) -> None:
    """After a stop of ten minutes each entry comes once."""
    scheduler.tick()
    clock[0] += 600
    scheduler.tick()
    assert len(scheduler.published) == 4


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_wall_clock_has_no_say(
    scheduler: Recorder, clock: list[float], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Set back or ahead by an hour, beat ticks on as before."""
    scheduler.tick()
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + hours * 3600)
    clock[0] += 1
    scheduler.tick()
    assert sorted(scheduler.published[:2]) == ["often", "seldom"]  # a set gives Celery their order
    assert scheduler.published[2:] == ["often"]


def test_without_entries_it_looks_again_later(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    del clock
    monkeypatch.setattr(MonotonicScheduler, "producer", None)
    assert Recorder(Celery("test", set_as_current=False), max_interval=4).tick() == 4
