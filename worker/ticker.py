"""The scheduler of `celery beat`: ticks by the monotonic clock (law 15).

Celery's own schedulers compute with the wall clock: set back by an hour, they do not tick for an
hour. `beat_scheduler` is Celery's setting for a scheduler of one's own.
"""

from __future__ import annotations

import time
from typing import Any

from celery.beat import Scheduler


class MonotonicScheduler(Scheduler):
    """Publishes each entry at once and then every so many seconds, whatever the wall clock says.

    It keeps no state between two runs: a tick too many does no harm.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def tick(self, *_: Any, **__: Any) -> float:
        """Publish what is due; returns the seconds until the next entry is due."""
        now = time.monotonic()
        for name, entry in self.schedule.items():
            if self._due.get(name, now) <= now:
                every: Any = entry.schedule
                self._due[name] = now + every.run_every.total_seconds()
                self.apply_entry(entry, producer=self.producer)
        longest = float(self.max_interval or 0)
        wait = min(self._due.values(), default=now + longest) - time.monotonic()
        return max(0.0, min(wait, longest))
