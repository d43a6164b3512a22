"""The `payouts` command as an operator runs it: arguments in, text and an exit code out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops import cli, console
from ops.console import PIPE_WIDTH
from sandbox.server import Gateway
from shared.config.settings import Settings
from tests.support.commands import ACCOUNT


@dataclass(frozen=True)
class Ran:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Payouts = Callable[..., Ran]


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command reads no setting from the environment or from a .env file."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    # it was set when the module was imported, by the terminal there was then
    monkeypatch.setattr(console.out, "width", PIPE_WIDTH)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def payouts(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Payouts:
    """Run `payouts` in this process, its output going into a pipe; keywords are its environment."""

    def run(*arguments: str, **environment: str) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["payouts", *arguments])
        capsys.readouterr()  # what the test itself logged
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def service(database_url: str, redis_url: str, gateway: Gateway) -> dict[str, str]:
    """The environment of a service at a sandbox gateway."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_BASE_URL": gateway.base_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": "TESTKEY123",
        "EPAY_NOT_FOUND_CODES": "2001",
    }


@pytest.fixture
def run(payouts: Payouts, service: dict[str, str]) -> Payouts:
    """Run `payouts` in that environment; keywords are added to it."""
    return lambda *arguments, **environment: payouts(*arguments, **(service | environment))
