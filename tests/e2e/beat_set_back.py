"""`celery beat` on a machine whose wall clock is set back by an hour while it runs.

libfaketime cannot play this: it moves the monotonic clock too, or breaks `time.sleep`.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from unittest import mock

from celery import Celery
from celery.__main__ import main

SET_BACK_AFTER = 5.0
HOUR = 3600.0

_began = time.monotonic()
_time, _now = time.time, Celery.now


def _behind() -> float:
    return HOUR if time.monotonic() - _began > SET_BACK_AFTER else 0.0


def wall_clock() -> float:
    return _time() - _behind()


def celerys_clock(app: Celery) -> datetime:
    return _now(app) - timedelta(seconds=_behind())


if __name__ == "__main__":
    sys.argv = ["celery", "-A", "worker", "beat"]
    with (
        mock.patch.object(time, "time", wall_clock),
        mock.patch.object(Celery, "now", celerys_clock),
    ):
        main()
