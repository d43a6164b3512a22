"""What processes use, read from /proc: CPU seconds and resident memory."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = "/proc"
_PARENT, _UTIME, _CSTIME = 1, 11, 14
"""Places in /proc/<pid>/stat, counted from the state, which follows the name in brackets."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all below it, those that ended included."""
    return cpu_of_parts({"it": [pid]})["it"]


def cpu_of_parts(parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The same for named groups of processes, in one look at the machine."""
    below: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for entry in os.listdir(_PROC):  # noqa: PTH208 - looked at many times a second
        if entry.isdigit() and (stat := _stat(entry)):
            pid = int(entry)
            ticks[pid] = sum(map(int, stat[_UTIME : _CSTIME + 1]))
            below[int(stat[_PARENT])].append(pid)

    def tree(pid: int) -> int:
        return ticks.get(pid, 0) + sum(map(tree, below[pid]))

    return {part: sum(map(tree, pids)) / _TICKS for part, pids in parts.items()}


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(Path(_PROC, str(pid), "statm").read_text().split()[1]) * _PAGE


def own_bytes(pid: int) -> int:
    """Memory of a process and of all below it; what several share is divided among them."""
    children = Path(_PROC, str(pid), "task", str(pid), "children").read_text().split()
    rollup = Path(_PROC, str(pid), "smaps_rollup").read_text()
    share = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(share.split()[1]) * 1024 + sum(own_bytes(int(child)) for child in children)


def _stat(pid: str) -> list[str] | None:
    try:
        text = Path(_PROC, pid, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
