"""Logging: one pipeline, and what must not be read is masked."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from shared.observability.logging import BackgroundHandler, configure_logging, mask
from tests.support.logs import root_logger_restored, written_logs

ACCOUNT = "41111810111111111111"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with root_logger_restored():
        yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last record written, read back."""
    line = written_logs(capsys).strip().splitlines()[-1]
    record: dict[str, Any] = json.loads(line)
    return record


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", ""), ("1", "*"), ("1234", "****"), (ACCOUNT, "*" * 16 + "1111")],
)
def test_mask(value: str, shown: str) -> None:
    """Stars and at most the last four characters; of four or fewer, none."""
    assert mask(value) == shown


@pytest.mark.parametrize("name", ["account_no", "accountNo", "payerAccount"])
def test_accounts_are_masked(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last four characters are enough to tell two apart."""
    configure_logging("json")
    structlog.get_logger("t").info("sent", **{name: ACCOUNT})
    assert last_line(capsys)[name] == "*" * 16 + "1111"


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", ["api_key", "sign", "key", "pinCode", "pin_code", "account_no"])
def test_no_secret_is_written_whole(
    name: str, log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In neither format, whatever its type."""
    configure_logging(log_format)
    log = structlog.get_logger("t")
    log.info("sent", **{name: ACCOUNT})
    log.info("sent", **{name: int(ACCOUNT)})
    log.bind(**{name: ACCOUNT}).warning("sent")
    assert ACCOUNT not in written_logs(capsys)


def test_what_was_bound_to_the_context_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    """It is merged before the mask."""
    configure_logging("json")
    structlog.contextvars.bind_contextvars(account_no=ACCOUNT, merchant_order_no="A-1")
    structlog.get_logger("t").info("sent")
    record = last_line(capsys)
    assert record["merchant_order_no"] == "A-1"
    assert ACCOUNT not in str(record)


def test_a_record_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With time, level, name and what was said, line breaks escaped."""
    configure_logging("json")
    structlog.get_logger("shop").warning("late\nreport", sequence=7)
    record = last_line(capsys)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "late\nreport", "level": "warning", "logger": "shop", "sequence": 7,
    }  # fmt: skip


def test_records_of_libraries_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Celery's and ours look alike, with the exception where there is one."""
    configure_logging("json")
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logging.getLogger("celery.worker").exception("task %s failed", "payouts.sweep")
    record = last_line(capsys)
    assert record["event"] == "task payouts.sweep failed"
    assert (record["logger"], record["level"]) == ("celery.worker", "error")
    assert "ZeroDivisionError" in record["exception"]


def test_the_level_holds_for_both(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below it is not written."""
    configure_logging("json", logging.WARNING)
    structlog.get_logger("t").info("quiet")
    logging.getLogger("t").info("quiet")
    assert written_logs(capsys) == ""


def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The handler is replaced, not added."""
    configure_logging("json")
    configure_logging("json")
    logging.getLogger("t").warning("once")
    assert len(written_logs(capsys).strip().splitlines()) == 1


class HeldStream(io.StringIO):
    """A stream whose every write waits until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        assert self.released.wait(10)
        return super().write(text)


@pytest.fixture
def stream() -> HeldStream:
    return HeldStream()


@pytest.fixture
def handler(stream: HeldStream) -> Iterator[BackgroundHandler]:
    handler = BackgroundHandler(stream, logging.Formatter("%(levelname)s %(message)s"))
    yield handler
    stream.released.set()
    handler.close()


@pytest.fixture
def log(handler: BackgroundHandler) -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.background")
    made.propagate = False
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)


def test_a_slow_stream_holds_up_no_thread(
    log: logging.Logger, handler: BackgroundHandler, stream: HeldStream
) -> None:
    """The calls return while nothing can be written; `close` then writes every line once."""
    for number in range(3):
        log.error("%s", number)
    assert stream.getvalue() == ""
    stream.released.set()
    handler.close()
    assert stream.getvalue() == "ERROR 0\nERROR 1\nERROR 2\n"


def test_lines_of_many_threads_are_whole_and_in_order(
    log: logging.Logger, handler: BackgroundHandler, stream: HeldStream
) -> None:
    """Each line once; those of one thread in the order in which it logged them."""
    stream.released.set()

    def log_lines(speaker: int) -> None:
        for number in range(200):
            log.error("%s %s", speaker, number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(log_lines, range(16)))
    handler.close()
    written = [tuple(map(int, line.split()[1:])) for line in stream.getvalue().splitlines()]
    assert sorted(written) == [(one, number) for one in range(16) for number in range(200)]
    for speaker in range(16):
        assert [number for one, number in written if one == speaker] == list(range(200))


def test_a_full_queue_holds_up_the_thread_that_logs(
    log: logging.Logger, stream: HeldStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines do not fill the memory while nothing is written."""
    monkeypatch.setattr("shared.observability.logging._MAX_QUEUED_LINES", 3)

    def log_lines() -> None:
        for number in range(6):
            log.error("%s", number)

    speaker = threading.Thread(target=log_lines, daemon=True)
    speaker.start()
    speaker.join(0.2)
    assert speaker.is_alive(), "the queue holds three lines, the stream one"
    stream.released.set()
    speaker.join(10)
    assert not speaker.is_alive()


def test_a_closed_handler_writes_at_once(
    log: logging.Logger, handler: BackgroundHandler, stream: HeldStream
) -> None:
    """A line that is logged while the process exits, after the handler was closed, is written."""
    stream.released.set()
    handler.close()
    log.error("late")
    assert stream.getvalue() == "ERROR late\n"


def test_a_stream_that_fails_stops_nothing(
    log: logging.Logger,
    handler: BackgroundHandler,
    stream: HeldStream,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As with every handler of the standard library the error is printed on stderr."""
    stream.released.set()
    stream.close()
    log.error("into a closed stream")
    handler.close()
    assert "ValueError" in capsys.readouterr().err
