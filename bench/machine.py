"""What was measured on: no names, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from devstack.binaries import postgres_program, redis_program

_PACKAGES = (
    "celery",
    "kombu",
    "redis",
    "requests",
    "urllib3",
    "sqlalchemy",
    "psycopg",
    "pydantic",
    "flask",
    "gunicorn",
    "procrastinate",
)
_VERSION = re.compile(r"(?:v=|\) )([0-9.]+)")


def describe() -> dict[str, str]:
    """Cores, memory, and versions."""
    found = {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "postgresql": _server(postgres_program()),
        "redis server": _server(redis_program()),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.machine()


def _server(program: Path) -> str:
    done = subprocess.run(
        [str(program), "--version"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    found = _VERSION.search(done.stdout)
    return found[1] if found else "?"
