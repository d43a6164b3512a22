"""A total deadline that holds against a gateway which sends one byte a second.

A socket's timeout starts anew with every byte, so it cannot bound a whole exchange. Here one daemon
thread per process shuts the socket of an exchange that is overdue; whoever reads from it wakes up
at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time


class DeadlinePassedError(Exception):
    """The total deadline of this attempt is over."""


class Cord:
    """A second descriptor of a connection's socket: it lasts as long as anybody has it in hand.

    The library may close its own at any time, and the number be given to another socket.
    """

    __slots__ = ("_fileno",)

    def __init__(self, fileno: int) -> None:
        self._fileno = os.dup(fileno)

    def pull(self) -> None:
        """Shut the socket; whoever reads from it wakes up at once."""
        with contextlib.suppress(OSError):  # the other side was faster
            sock = socket.socket(fileno=self._fileno)
            try:
                sock.shutdown(socket.SHUT_RDWR)
            finally:
                sock.detach()

    def __del__(self) -> None:
        if hasattr(self, "_fileno"):
            os.close(self._fileno)


class Attempt:
    """The facts of one exchange that decide law 2: did a byte of the request leave."""

    __slots__ = ("cord", "deadline", "expired", "reason", "sent")

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.expired = False
        """The watchdog shut the socket."""
        self.sent = False
        """Set before the first byte is handed to the socket, so it can err on one side only."""
        self.reason = "request could not be started"
        """How far it came, in a short stable text."""
        self.cord: Cord | None = None
        """What the watchdog shuts the socket by, once there is one."""

    def remaining(self) -> float:
        """Return the seconds left; zero or less when the deadline is over."""
        return self.deadline - time.monotonic()


class Watchdog:
    """Watches the open attempts of a process; sleeps until the earliest deadline it knows of."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._open: set[Attempt] = set()
        self._next_look = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, seconds: float) -> Attempt:
        """Open an attempt that must be over in `seconds`. Pair with `end`."""
        attempt = Attempt(seconds)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="epay-deadline", daemon=True)
                thread.start()  # may fail, and must then be tried again
                self._thread = thread
            self._open.add(attempt)
            if attempt.deadline < self._next_look:
                self._next_look = attempt.deadline
                self._changed.notify()
        return attempt

    def hold(self, attempt: Attempt, cord: Cord) -> None:
        """Give the watchdog the socket to shut. Raises DeadlinePassedError when it is too late."""
        with self._changed:
            if attempt.expired:
                raise DeadlinePassedError
            attempt.cord = cord

    def end(self, attempt: Attempt) -> None:
        """Close an attempt; from here on nothing shuts its socket."""
        with self._changed:
            self._open.discard(attempt)
        attempt.cord = None

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for attempt in [late for late in self._open if late.deadline <= now]:
                    self._open.discard(attempt)
                    attempt.expired = True
                    if attempt.cord is not None:
                        attempt.cord.pull()
                self._next_look = min((one.deadline for one in self._open), default=math.inf)
                wait = None if self._next_look == math.inf else self._next_look - now
                self._changed.wait(wait)


class _Process:
    """What starts afresh in a forked child, where no other thread lives."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watchdog = Watchdog()


_process = _Process()


def current_process() -> _Process:
    """Return the state of this very process; another object after a fork."""
    return _process


def _after_fork() -> None:
    global _process  # noqa: PLW0603 - a fork changes what "this process" is
    _process = _Process()


os.register_at_fork(after_in_child=_after_fork)
