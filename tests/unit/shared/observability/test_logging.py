"""Logging: one pipeline, and what must not be read is masked."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.observability.logging import configure_logging, mask

ACCOUNT = "41111810111111111111"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last record written, read back."""
    line = capsys.readouterr().err.strip().splitlines()[-1]
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
    assert ACCOUNT not in capsys.readouterr().err


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
    assert capsys.readouterr().err == ""


def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The handler is replaced, not added."""
    configure_logging("json")
    configure_logging("json")
    logging.getLogger("t").warning("once")
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
