"""Lines of many threads: each once and whole, and nobody waits for another's to be written."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.wait import wait_for
from shared.observability.log_stream import UnwaitingHandler


class SlowStream(io.StringIO):
    """A stream whose every write waits until it is let go, once it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.writes = 0
        self.inside = threading.Event()

    def write(self, text: str) -> int:
        self.inside.set()
        assert self.go.wait(10)
        self.writes += 1
        return super().write(text)


def held_up(stream: SlowStream, log: logging.Logger, line: str) -> threading.Thread:
    """Somebody who is in the middle of writing a line, until the stream is let go."""
    stream.go.clear()
    writer = threading.Thread(target=log.error, args=(line,), daemon=True)
    writer.start()
    assert stream.inside.wait(10)
    return writer


@pytest.fixture
def stream() -> SlowStream:
    return SlowStream()


@pytest.fixture
def log(stream: SlowStream) -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.log_stream")
    made.propagate = False
    handler = UnwaitingHandler(stream)
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)
    handler.close()


def test_a_line_is_there_when_the_call_is_over(log: logging.Logger, stream: SlowStream) -> None:
    """What was said before a process dies is in its log."""
    log.error("one of %s", 2)
    assert stream.getvalue() == "one of 2\n"


def test_every_line_of_many_threads_is_there_once(log: logging.Logger, stream: SlowStream) -> None:
    """And those of one thread are in their order."""

    def speak(speaker: int) -> None:
        for number in range(200):
            log.error("%s %s", speaker, number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(speak, range(16)))
    said = [tuple(map(int, line.split())) for line in stream.getvalue().splitlines()]
    assert sorted(said) == [(speaker, number) for speaker in range(16) for number in range(200)]
    for speaker in range(16):
        assert [number for who, number in said if who == speaker] == list(range(200))


def test_nobody_waits_for_another_to_have_written(log: logging.Logger, stream: SlowStream) -> None:
    """A slow disk holds up one thread; it writes the lines of the others too."""
    writer = held_up(stream, log, "slow")
    for number in range(3):
        log.error("%s", number)
    assert stream.getvalue() == ""
    stream.go.set()
    writer.join(10)
    assert stream.getvalue() == "slow\n0\n1\n2\n"
    assert stream.writes == 2


def test_a_flush_waits_for_all_lines(log: logging.Logger, stream: SlowStream) -> None:
    """At the end of a process nothing is left unsaid, whoever was to write it."""
    writer = held_up(stream, log, "slow")
    log.error("left to it")
    flusher = threading.Thread(target=log.handlers[0].flush, daemon=True)
    flusher.start()
    stream.go.set()
    flusher.join(10)
    writer.join(10)
    assert stream.getvalue() == "slow\nleft to it\n"


def test_who_says_too_much_waits_for_a_slow_stream(
    log: logging.Logger, stream: SlowStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines do not fill the memory while nothing is written."""
    monkeypatch.setattr("shared.observability.log_stream._MOST_WAITING", 3)
    writer = held_up(stream, log, "slow")

    def speak() -> None:
        for number in range(5):
            log.error("%s", number)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    speaker.join(0.2)
    assert speaker.is_alive(), "the fourth line waits"
    stream.go.set()
    speaker.join(10)
    writer.join(10)
    assert stream.getvalue() == "slow\n0\n1\n2\n3\n4\n"


def test_a_fork_amid_a_line(log: logging.Logger, stream: SlowStream) -> None:
    """The child has nobody who is writing, and says what it has to say, and nothing twice."""
    writer = held_up(stream, log, "the parent's")
    log.error("the parent's too")
    child = os.fork()
    if not child:
        stream.go = threading.Event()
        stream.go.set()
        log.error("the child's")
        os._exit(0 if stream.getvalue() == "the child's\n" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stream.go.set()
    writer.join(10)
    wait_for(lambda: stream.getvalue() == "the parent's\nthe parent's too\n", 5, "both lines")


def test_a_stream_that_fails_stops_nobody(
    log: logging.Logger, stream: SlowStream, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with the standard library: what could not be written is told on the error stream."""
    stream.close()
    log.error("into nothing")
    assert "ValueError" in capsys.readouterr().err
