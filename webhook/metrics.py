"""The webhook's Prometheus metrics.

With several gunicorn workers, any of them answers /metrics. If PROMETHEUS_MULTIPROC_DIR is set,
each process keeps its counters in a file in that directory and every answer is the sum. The
directory must be empty when the service starts.
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
    """All metrics in the Prometheus text format."""
    if not _FOLDER:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, _FOLDER)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
