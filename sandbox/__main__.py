"""`python -m sandbox`: run the stand-in gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields

from sandbox.faults import Fault
from sandbox.server import Gateway
from sandbox.settings import SandboxConfig, environment_texts, settings_of


def read_config(arguments: Sequence[str]) -> SandboxConfig:
    """Read command-line options over SANDBOX_ variables over defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A stand-in EPAY gateway. Each option is also read from SANDBOX_<OPTION>. "
        "EPAY documents no response code but 1: all other codes are the sandbox's own.",
        epilog="A payout's remark can order a fault, sandbox:<fault> or sandbox:<fault>:<value>:"
        f" {', '.join(Fault)}. What each does: docs/trying.md.",
    )
    for item in fields(SandboxConfig):
        parser.add_argument(
            "--" + item.name.replace("_", "-"),
            metavar="VALUE",
            help=f"{item.metadata['about']} (default: {item.default})".replace("%", "%%"),
        )
    given = {name: text for name, text in vars(parser.parse_args(arguments)).items() if text}
    try:
        return SandboxConfig(**settings_of(environment_texts(os.environ) | given))
    except ValueError as error:
        parser.error(str(error))


def main(arguments: Sequence[str]) -> int:
    """Run until a signal says stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Gateway(read_config(arguments)) as gateway:
        print(f"sandbox gateway at {gateway.base_url}", flush=True)  # noqa: T201
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
