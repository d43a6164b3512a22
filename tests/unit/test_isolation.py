"""The guard over the unit tests holds."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
import redis
import requests
from sqlalchemy import create_engine

from tests.support.isolation import NotAUnitTestError


def connect_unix_socket() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/nowhere")


def listen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


@pytest.mark.parametrize(
    "action",
    [
        connect_unix_socket,
        listen,
        lambda: socket.create_connection(("127.0.0.1", 1)),
        lambda: requests.get("http://127.0.0.1:1", timeout=1),
        lambda: redis.Redis(port=1).ping(),
        lambda: psycopg.connect("host=127.0.0.1 port=1"),
        lambda: create_engine("postgresql+psycopg://127.0.0.1:1/d").connect(),
    ],
)
def test_socket_is_refused(action: Callable[[], object]) -> None:
    """Also behind a library that retries or wraps every Exception."""
    with pytest.raises(NotAUnitTestError, match="opened a socket: move it to tests/integration"):
        action()


@pytest.mark.parametrize(
    "action",
    [
        lambda: subprocess.run([sys.executable, "-V"], check=False),
        lambda: multiprocessing.get_context("spawn").Process().start(),
        lambda: asyncio.run(asyncio.create_subprocess_exec(sys.executable, "-V")),
        lambda: os.system("true"),
        lambda: os.fork(),  # noqa: PLW0108 - looked up while the guard is on
    ],
)
def test_process_is_refused(action: Callable[[], object]) -> None:
    """In whatever way it would be started; an event loop of its own is none."""
    with pytest.raises(NotAUnitTestError, match="started a process: move it to tests/integration"):
        action()
