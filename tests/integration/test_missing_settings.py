"""Starting a process without its settings: it ends at once and says which are missing."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import PROGRAMS
from tests.support.service import bare_environment

WORKER = ("DATABASE_URL", "REDIS_URL", "EPAY_BASE_URL", "EPAY_ACCOUNT", "EPAY_API_KEY")
WEBHOOK = ("REDIS_URL", "EPAY_ACCOUNT", "EPAY_API_KEY")
SETTINGS = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "EPAY_BASE_URL": "https://127.0.0.1:1/capi/openapi",
    "EPAY_ACCOUNT": "merchant@example.com",
    "EPAY_API_KEY": "an-api-key",
}


@dataclass(frozen=True)
class Ended:
    """How a process ended; None when it did not."""

    code: int | None
    err: str


def _start(folder: Path, *command: str, **settings: str) -> Ended:
    with (folder / "err").open("wb") as err:
        started = subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=folder,
            env=bare_environment() | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
        )
    try:
        code = started.wait(timeout=60)
    except subprocess.TimeoutExpired:
        code = None
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return Ended(code, (folder / "err").read_text())


@pytest.mark.parametrize("part", ["worker", "beat"])
def test_celery_names_every_missing_setting(tmp_path: Path, part: str) -> None:
    """`celery -A worker worker` and `beat` without settings: exit code, all names, no traceback."""
    ended = _start(tmp_path, "celery", "-A", "worker", part)
    assert ended.code not in {0, None}
    assert all(f"{name}: " in ended.err for name in WORKER)
    assert "Traceback" not in ended.err


def test_celery_names_a_wrong_setting(tmp_path: Path) -> None:
    """A setting that cannot be is named, without its value."""
    ended = _start(
        tmp_path, "celery", "-A", "worker", "worker", **SETTINGS | {"EPAY_READ_TIMEOUT": "s3cret"}
    )
    assert ended.code not in {0, None}
    assert "EPAY_READ_TIMEOUT" in ended.err
    assert "s3cret" not in ended.err
    assert "an-api-key" not in ended.err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REDIS_URL", "sentinel://127.0.0.1:26379/0", "name the master itself"),
        ("REDIS_URL", "redis+cluster://127.0.0.1:7000/0", "name a single Redis"),
        ("REDIS_URL", "redis://127.0.0.1:s3cret/0", "port that cannot exist"),
        ("EPAY_API_KEY", "s3cret\n", "line break"),
    ],
)
@pytest.mark.parametrize("program", ["worker", "beat", "webhook", "controls"])
def test_a_setting_that_cannot_work_is_refused_in_words(
    tmp_path: Path, program: str, name: str, value: str, words: str
) -> None:
    """By every process, with its name and without its value."""
    command = {
        "worker": ("celery", "-A", "worker", "worker"),
        "beat": ("celery", "-A", "worker", "beat"),
        "webhook": ("gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket",
                    "webhook:create_app()"),
        "controls": ("payouts", "controls"),
    }[program]  # fmt: skip
    ended = _start(tmp_path, *command, **SETTINGS | {name: value})
    assert ended.code not in {0, None}
    assert words in " ".join(ended.err.split())
    assert name in ended.err
    assert "Traceback" not in ended.err
    assert "s3cret" not in ended.err


def test_webhook_names_every_missing_setting_and_ends(tmp_path: Path) -> None:
    """gunicorn ends with an error; a webhook that starts over and over would look alive."""
    ended = _start(
        tmp_path,
        *("gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "webhook:create_app()"),
    )
    assert ended.code not in {0, None}
    assert all(f"{name}: " in ended.err for name in WEBHOOK)
