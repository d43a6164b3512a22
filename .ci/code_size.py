"""Prints the number of product lines, and fails when a limit on the size of the code is broken."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PRODUCT = ("shared", "worker", "webhook", "ops", "sandbox", "devstack")
SERVICE = ("shared", "worker", "webhook", "ops")
MAX_TOTAL = 22_600
MAX_FILE = 350
MAX_LIFECYCLE_FILE = 249
MAX_MEDIAN = 99
LIFECYCLE = {
    f"shared/domain/{name}.py" for name in ("lifecycle", "reports", "scheduling", "policy")
}


def measure(lines: Mapping[str, int]) -> tuple[str, list[str]]:
    """Judge the lines of each product file, by its path from the root.

    Returns:
        A summary, and one message for each broken limit.
    """
    service = {path: count for path, count in lines.items() if path.startswith(SERVICE)}
    total, median = sum(lines.values()), statistics.median(service.values())
    longest = max(service, key=lambda path: service[path])
    summary = (
        f"{total:,} product lines in {len(lines)} files (limit {MAX_TOTAL:,}); "
        f"{'/, '.join(SERVICE)}/: median {median:g} lines, longest {longest} with {lines[longest]}"
    )
    broken = []
    for path, count in sorted(service.items()):
        limit = MAX_LIFECYCLE_FILE if path in LIFECYCLE else MAX_FILE
        if count > limit:
            broken.append(f"{path} has {count} lines, above the limit of {limit}")
    if median > MAX_MEDIAN:
        broken.append(f"the median file has {median:g} lines, above the limit of {MAX_MEDIAN}")
    if total > MAX_TOTAL:
        broken.append(f"the product has {total:,} lines, above the limit of {MAX_TOTAL:,}")
    return summary, broken


def main() -> None:
    """Count the files that git tracks, as `wc -l` counts."""
    patterns = [f"{room}/*.py" for room in PRODUCT]
    listed = subprocess.run(
        ["git", "ls-files", "--", *patterns], capture_output=True, text=True, check=True
    )
    files = [Path(line) for line in listed.stdout.splitlines() if Path(line).exists()]
    summary, broken = measure({str(file): file.read_bytes().count(b"\n") for file in files})
    print(summary)
    for message in broken:
        print(message, file=sys.stderr)
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
