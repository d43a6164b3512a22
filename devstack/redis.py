"""Redis (the Valkey server) on this machine, on a free port of 127.0.0.1."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.binaries import redis_program
from devstack.ports import free_port
from devstack.server import LocalServer, ServerNotStarted

_PORT_TRIES = 5
_OPTIONS = (
    *("--bind", "127.0.0.1", "--daemonize", "no", "--save", ""),
    *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
)


class LocalRedis(LocalServer):
    """A Redis server set up as a broker: append-only file, no snapshots, no eviction."""

    name = "Redis"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, folder: Path | None = None, port: int | None = None) -> None:
        """Start nothing yet.

        Args:
            folder: keeps the data from one run to the next; None: a temporary folder.
            port: None: a free one.
        """
        super().__init__(folder)
        self._program = str(redis_program())
        self.port = port
        """Its TCP port on 127.0.0.1; known after the first start."""

    @property
    def url(self) -> str:
        """Database 0, as redis://127.0.0.1:port/0; RuntimeError before the first start."""
        if self.port is None:
            raise RuntimeError("Redis was never started")
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, wipe: bool = False) -> None:
        """Start it and return once it answers; `wipe`: empty, as after the loss of its disk."""
        if wipe and self._folder is not None:
            shutil.rmtree(self._folder / "data", ignore_errors=True)
        super().start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it inside the `with` block: connections stay open, without answers."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def _start(self, folder: Path) -> None:
        data = folder / "data"
        data.mkdir(exist_ok=True)
        for tries_left in reversed(range(1 if self.port else _PORT_TRIES)):
            port = self.port or free_port()
            command = [self._program, "--port", str(port), "--dir", str(data), *_OPTIONS]
            try:
                self._launch(command, folder / "redis.log", partial(_answers, port))
            except ServerNotStarted as error:
                if not tries_left or "Address already in use" not in str(error):
                    raise
            else:
                self.port = port
                return


def _answers(port: int, pid: int) -> bool:
    """Whether the process `pid` answers on the port, which another Redis may hold."""
    once = Retry(NoBackoff(), 0)
    try:
        with redis.Redis(port=port, socket_timeout=0.25, retry=once) as client:
            return bool(client.info("server")["process_id"] == pid)
    except redis.RedisError:
        return False
