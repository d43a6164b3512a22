"""Threads that write at the same moment share a batch, and each gets its own result."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from devstack.wait import wait_for
from shared.storage.group_commit import GroupCommit


class Doubler:
    """Doubles numbers, batch by batch, and can be blocked."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.refused: set[int] = set()
        self.group = GroupCommit(self.run)

    def run(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        assert self.unblocked.wait(30)
        if self.refused & set(numbers):
            raise ValueError(str(sorted(self.refused & set(numbers))))
        return [2 * number for number in numbers]


def submit_together(
    doubler: Doubler, pool: ThreadPoolExecutor, numbers: range
) -> list[Future[int]]:
    """Block both lanes with the first two numbers, so that all others wait and share batches."""
    doubler.unblocked.clear()
    calls = [pool.submit(doubler.group.submit, number) for number in numbers[:2]]
    wait_for(lambda: len(doubler.batches) == 2, 30, "both lanes to be in use")
    calls += [pool.submit(doubler.group.submit, number) for number in numbers[2:]]

    def all_wait() -> bool:
        return sum(len(waiting) for waiting, _ in doubler.group._lanes) == len(numbers) - 2

    wait_for(all_wait, 30, "the others to wait")
    doubler.unblocked.set()
    return calls


def test_a_single_thread_writes_at_once() -> None:
    doubler = Doubler()
    assert [doubler.group.submit(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert doubler.batches == [[1], [2], [3]]


def test_waiting_threads_share_a_batch_of_their_lane() -> None:
    doubler = Doubler()
    with ThreadPoolExecutor(40) as pool:
        calls = submit_together(doubler, pool, range(40))
        assert [call.result(30) for call in calls] == [2 * number for number in range(40)]
    assert sorted(len(batch) for batch in doubler.batches) == [1, 1, 19, 19]


def test_a_batch_is_limited_and_no_thread_is_left_waiting() -> None:
    doubler = Doubler()
    with ThreadPoolExecutor(200) as pool:
        calls = submit_together(doubler, pool, range(200))
        assert [call.result(30) for call in calls] == [2 * number for number in range(200)]
    assert max(len(batch) for batch in doubler.batches) == 64


def test_a_refused_item_fails_alone() -> None:
    """Its batch fails; each thread of the batch runs its own item again."""
    doubler = Doubler()
    doubler.refused = {7}
    with ThreadPoolExecutor(20) as pool:
        calls = submit_together(doubler, pool, range(20))
        for number, call in enumerate(calls):
            if number == 7:
                with pytest.raises(ValueError, match=r"\[7\]"):
                    call.result(30)
            else:
                assert call.result(30) == 2 * number


def test_an_item_that_fails_in_a_batch_of_its_own_is_not_run_again() -> None:
    doubler = Doubler()
    doubler.refused = {1}
    with pytest.raises(ValueError, match=r"\[1\]"):
        doubler.group.submit(1)
    assert doubler.batches == [[1]]


def test_a_thread_that_is_ended_leaves_no_other_waiting() -> None:
    """SystemExit ends the thread that runs the batch; the others run their own items."""

    class Ended(BaseException):
        pass

    sizes: list[int] = []

    def run(numbers: Sequence[int]) -> list[int]:
        sizes.append(len(numbers))
        if len(numbers) > 1:
            raise Ended
        assert gate.wait(30)
        return list(numbers)

    gate = threading.Event()
    group: GroupCommit[int, int] = GroupCommit(run)
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(group.submit, number) for number in (0, 1)]
        wait_for(lambda: len(sizes) == 2, 30, "both lanes to be in use")
        calls += [pool.submit(group.submit, number) for number in range(2, 10)]
        wait_for(lambda: sum(len(waiting) for waiting, _ in group._lanes) == 8, 30, "eight")
        gate.set()
        ended = [call for call in calls if isinstance(call.exception(30), Ended)]
        assert len(ended) == 2
        assert {call.result(30) for call in calls if call not in ended} <= set(range(10))
