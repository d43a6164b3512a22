"""What the webhook counts, in this process or, where a folder is named for it, in all of them.

Several gunicorn workers are several processes, and /metrics is answered by any of them. With
PROMETHEUS_MULTIPROC_DIR in the environment each keeps its numbers in a file there, and every answer
is the sum. The folder must be empty when the service starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if _FOLDER:
    Path(_FOLDER).mkdir(parents=True, exist_ok=True)

CALLBACKS = Counter("payouts_callbacks_total", "Callbacks received, by our answer", ["result"])


def exposition() -> bytes:
    """All numbers, as Prometheus reads them."""
    if not _FOLDER:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, _FOLDER)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
