"""`celery beat` on a machine whose wall clock is wrong: by so many seconds, or set back under way.

libfaketime cannot play this: it moves the monotonic clock too, or breaks `time.sleep`.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from unittest import mock

from celery import Celery
from celery.__main__ import main

from shared import clock

SET_BACK_AFTER = 5.0
HOUR = 3600.0

_began = time.monotonic()
_time, _now, _utcnow = time.time, Celery.now, clock.utcnow
_AHEAD = float(sys.argv[1]) if __name__ == "__main__" and len(sys.argv) > 1 else None
"""Seconds, from the start on; None: the clock is set back by an hour while beat runs."""


def _ahead() -> float:
    if _AHEAD is not None:
        return _AHEAD
    return -HOUR if time.monotonic() - _began > SET_BACK_AFTER else 0.0


def wall_clock() -> float:
    return _time() + _ahead()


def celerys_clock(app: Celery) -> datetime:
    return _now(app) + timedelta(seconds=_ahead())


def our_clock() -> datetime:
    return _utcnow() + timedelta(seconds=_ahead())


if __name__ == "__main__":
    sys.argv = ["celery", "-A", "worker", "beat"]
    with (
        mock.patch.object(time, "time", wall_clock),
        mock.patch.object(Celery, "now", celerys_clock),
        mock.patch.object(clock, "utcnow", our_clock),
    ):
        main()
