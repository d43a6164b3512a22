"""The service for people who try their own app against it: it runs until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from ops.console import say
from ops.demo.services import Ports, running
from ops.errors import UserError
from shared.config.settings import Settings

_PORTS = Ports(gateway=8701, webhook=8702, redis=8703)
"""The same from run to run, so that a terminal keeps its environment."""

_ADDRESSES = (
    "DATABASE_URL",
    "REDIS_URL",
    "EPAY_BASE_URL",
    "EPAY_ACCOUNT",
    "EPAY_API_KEY",
    "EPAY_NOTIFY_URL",
)
_SETTINGS = {
    "EPAY_NOT_FOUND_CODES": "2001",
    "EPAY_REFUSED_CODES": "2005",
    "EPAY_LEASE_SECONDS": "30",
    "EPAY_SETTLE_SECONDS": "60",
    "EPAY_QUERY_BACKOFF": "10,20,30,60",
}
"""The stand-in gateway's codes, and times for people who watch. The environment has precedence.

EPAY_SETTLE_SECONDS is above the gateway's fault `hidden` (20 s), as in production above EPAY's.
"""

_EXAMPLE = "--amount 10.50 --currency USD --channel 11 --account-no U1234567"
_NEXT_STEPS = f"""\
Everything runs. In another terminal:

  . {{env_file}}       # the settings, for `payouts` and your app
  payouts enqueue order-1 {_EXAMPLE}
  payouts show order-1

A payout that gets stuck (docs/trying.md lists all faults):
  payouts enqueue order-2 {_EXAMPLE} --remark sandbox:drop_before_accepting
  payouts list --status unknown

The gateway's payments: {{services.gateway_url}}/_ledger
Logs: {{services.logs}}
Ctrl-C stops everything."""


def run(logs: Path, data: Path | None, env_file: Path) -> int:
    """Start everything, write its environment to a file, and stop everything at Ctrl-C or SIGTERM.

    Returns:
        The exit code: 1 if a process or a server ended by itself.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    given = names_given(os.environ)
    say(f"From your environment: {', '.join(given) or 'no setting'}.")
    say("Starting; this takes some seconds ...")
    with running(logs, settings_of(os.environ), {}, data, _PORTS) as services:
        names = [*_ADDRESSES, *(name for name in (*_SETTINGS, *given) if name not in _ADDRESSES)]
        write_env_file(env_file, {name: services.environment[name] for name in names})
        say(_NEXT_STEPS.format(env_file=shlex.quote(str(env_file)), services=services))
        ended: dict[str, tuple[int, Path]] = {}
        while not ended and not stop.wait(1):
            ended = services.ended()
        for name, (code, log) in ended.items():
            say(f"{name} ended by itself (exit code {code}). The end of its log:")
            say("\n".join(log.read_text(errors="replace").strip().splitlines()[-5:]))
        say("Stopping ...")
    return 1 if ended else 0


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The service's settings beside its addresses: the environment's, else ours."""
    return {name: environment.get(name, ours) for name, ours in _SETTINGS.items()}


def names_given(environment: Mapping[str, str]) -> list[str]:
    """The settings of the service and the gateway in the environment, as far as they are used."""
    replaced = set(_ADDRESSES) - {"DATABASE_URL", "REDIS_URL"}
    known = {name.upper() for name in Settings.model_fields} - replaced
    return sorted(
        name
        for name, value in environment.items()
        if (name in known or name.startswith("SANDBOX_")) and (value or name not in _ADDRESSES)
    )


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write lines for a shell to source; only this user can read them.

    Raises:
        UserError: the file cannot be written.
    """
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(lines)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name another") from error
