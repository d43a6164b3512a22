"""Callers that come at the same moment go together, and each gets what is its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from devstack.wait import wait_for
from shared.storage.group_commit import Together


class Desk:
    """Doubles numbers, group by group, and can be held up."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.bad: set[int] = set()
        self.together = Together(self.run)

    def run(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        assert self.open.wait(10)
        if self.bad & set(numbers):
            raise ValueError(str(sorted(self.bad & set(numbers))))
        return [2 * number for number in numbers]


def crowd(desk: Desk, pool: ThreadPoolExecutor, numbers: range) -> list[Future[int]]:
    """Two callers hold both lanes; the others come meanwhile. The first two go first, alone."""
    desk.open.clear()
    calls = [pool.submit(desk.together.do, number) for number in numbers[:2]]
    wait_for(lambda: len(desk.groups) == 2, 5, "both lanes to be taken")
    calls += [pool.submit(desk.together.do, number) for number in numbers[2:]]

    def all_wait() -> bool:
        return sum(len(lane.waiting) for lane in desk.together._lanes) == len(numbers) - 2

    wait_for(all_wait, 5, "the others to wait")
    desk.open.set()
    return calls


def test_alone_it_is_done_at_once() -> None:
    desk = Desk()
    assert [desk.together.do(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert desk.groups == [[1], [2], [3]]


def test_who_comes_meanwhile_goes_together() -> None:
    desk = Desk()
    with ThreadPoolExecutor(40) as pool:
        calls = crowd(desk, pool, range(40))
        assert [call.result(5) for call in calls] == [2 * number for number in range(40)]
    assert sorted(len(group) for group in desk.groups) == [1, 1, 19, 19]


def test_a_group_has_a_limit_and_nobody_is_left_behind() -> None:
    desk = Desk()
    with ThreadPoolExecutor(200) as pool:
        calls = crowd(desk, pool, range(200))
        assert [call.result(5) for call in calls] == [2 * number for number in range(200)]
    assert max(len(group) for group in desk.groups) == 64


def test_what_is_wrong_with_one_fails_that_one() -> None:
    """The group fails; each tries alone."""
    desk = Desk()
    desk.bad = {7}
    with ThreadPoolExecutor(20) as pool:
        calls = crowd(desk, pool, range(20))
        for number, call in enumerate(calls):
            if number == 7:
                with pytest.raises(ValueError, match=r"\[7\]"):
                    call.result(5)
            else:
                assert call.result(5) == 2 * number


def test_who_fails_alone_is_told_at_once() -> None:
    """Not tried twice: there was nobody else to blame."""
    desk = Desk()
    desk.bad = {1}
    with pytest.raises(ValueError, match=r"\[1\]"):
        desk.together.do(1)
    assert desk.groups == [[1]]


def test_who_ends_the_thread_leaves_nobody_waiting() -> None:
    """A leader that is ended from outside hands its group back to those in it."""

    class Ended(BaseException):
        pass

    told: list[int] = []

    def run(numbers: Sequence[int]) -> list[int]:
        told.append(len(numbers))
        if len(numbers) > 1:
            raise Ended
        assert gate.wait(10)
        return list(numbers)

    gate = threading.Event()
    together: Together[int, int] = Together(run)
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(together.do, number) for number in (0, 1)]
        wait_for(lambda: len(told) == 2, 5, "both lanes to be taken")
        calls += [pool.submit(together.do, number) for number in range(2, 10)]
        wait_for(lambda: sum(len(lane.waiting) for lane in together._lanes) == 8, 5, "eight")
        gate.set()
        ended = [call for call in calls if isinstance(call.exception(5), Ended)]
        assert len(ended) == 2
        assert {call.result(5) for call in calls if call not in ended} <= set(range(10))
