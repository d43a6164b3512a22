"""PostgreSQL on this machine: a unix socket and no TCP port."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from devstack.binaries import postgres_program
from devstack.databases import PostgresServer
from devstack.process import ChildProcess
from devstack.server import LocalServer
from devstack.unprivileged import reachable, reachable_copy, server_user

FAST_UNSAFE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""For tests: commits survive a crash of the server, but not of the machine."""

_INITDB_OPTIONS = (
    *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"),
)
_INITDB_SECONDS = 120.0
_SOCKET_PATH_BYTES = 103
"""The longest path of a unix socket on all systems (107 on Linux)."""


class LocalPostgres(LocalServer, PostgresServer):
    """A PostgreSQL server without passwords: only this user can enter the folder of its socket."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT
    kill_signal = signal.SIGQUIT

    def __init__(
        self, folder: Path | None = None, *, settings: Mapping[str, str] | None = None
    ) -> None:
        """Start nothing yet.

        Args:
            folder: keeps the data from one run to the next; None: a temporary folder.
            settings: server settings, for example `FAST_UNSAFE` or max_connections.
        """
        super().__init__(folder)
        self._user = server_user()
        self._program = postgres_program()
        self._settings = {"listen_addresses": "", "timezone": "UTC", **(settings or {})}
        self._socket_folder: Path | None = None

    @property
    def url(self) -> str:
        """The database `postgres`, as postgresql://...; RuntimeError before the first start."""
        if self._socket_folder is None:
            raise RuntimeError("PostgreSQL was never started")
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder))}&port=5432"

    def _start(self, folder: Path) -> None:
        data, log = folder / "data", folder / "postgres.log"
        self._ensure_reachable(data)
        if not (data / "PG_VERSION").exists():
            self._initialise(data, log)
        if self._socket_folder is None:
            short = len(os.fsencode(data / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES
            self._socket_folder = data if short else self._temporary_folder("/tmp")  # noqa: S108
        settings = {"unix_socket_directories": f'"{self._socket_folder}"', **self._settings}
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        command = [str(self._program), "-D", str(data), *options]
        self._launch(command, log, self._answers, env=_environment(), cwd=data, **self._user)

    def _ensure_reachable(self, data: Path) -> None:
        if not self._user:
            return
        if self._keeps_data and not reachable(data):
            raise PermissionError(
                f"PostgreSQL does not run as root, and its user cannot enter {data.parent}: "
                "choose a folder outside of your home, or do not run this as root"
            )
        self._program = reachable_copy(self._program, self._temporary_folder)

    def _initialise(self, data: Path, log: Path) -> None:
        # Made under another name, so that a folder `data` is always complete.
        unfinished = data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        command = [str(self._program.with_name("initdb")), *_INITDB_OPTIONS, "-D", str(unfinished)]
        initdb = ChildProcess(command, log, env=_environment(), cwd=unfinished, **self._user)
        if initdb.wait(_INITDB_SECONDS):
            raise RuntimeError(f"PostgreSQL's initdb failed:\n{initdb.log_tail()}")
        unfinished.rename(data)

    def _temporary_folder(self, base: str | None = None) -> Path:
        folder = super()._temporary_folder(base)
        self._give(folder)
        return folder

    def _give(self, folder: Path) -> None:
        """Make the server's user the owner of a folder."""
        os.chown(folder, self._user.get("user", -1), self._user.get("group", -1))

    def _answers(self, _pid: int) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _environment() -> dict[str, str]:
    """Ours without PGPORT, PGDATA and the like, which the server would read too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
