"""What tests must not reach: other machines; in a unit test, any socket or process."""

from __future__ import annotations

import ipaddress
import multiprocessing.process
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest


class OutsideConnectionError(BaseException):
    """A test tried to reach another machine. No Exception: `except Exception` must not eat it."""


class NotAUnitTestError(BaseException):
    """A unit test used a socket or started a process. No Exception, for the same reason."""


_SOCKET = "opened a socket"
_PROCESS = "started a process"
_FORBIDDEN_IN_UNIT_TESTS = (
    (socket.socket, "connect", _SOCKET),
    (socket.socket, "connect_ex", _SOCKET),
    (socket.socket, "bind", _SOCKET),
    (socket.socket, "listen", _SOCKET),
    (socket.socket, "sendto", _SOCKET),
    (socket, "getaddrinfo", _SOCKET),
    (psycopg, "connect", _SOCKET),  # libpq opens the socket in C
    (psycopg.Connection, "connect", _SOCKET),
    (subprocess.Popen, "__init__", _PROCESS),
    (multiprocessing.process.BaseProcess, "start", _PROCESS),
    (os, "fork", _PROCESS),
    (os, "forkpty", _PROCESS),
    (os, "posix_spawn", _PROCESS),
    (os, "posix_spawnp", _PROCESS),
    (os, "system", _PROCESS),
)
"""Socket pairs stay allowed: they are connected within the process, and asyncio needs one."""


@contextmanager
def no_socket_no_process() -> Iterator[None]:
    """Raise `NotAUnitTestError` for every socket that is opened and every process started."""

    def forbidden(what: str) -> Callable[..., None]:
        def refuse(*_args: Any, **_kwargs: Any) -> None:
            raise NotAUnitTestError(f"a unit test {what}: move it to tests/integration")

        return refuse

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, what in _FORBIDDEN_IN_UNIT_TESTS:
            patch.setattr(owner, name, forbidden(what))
        yield


_ALLOWED_NAMES = frozenset({"", "localhost", "255.255.255.255"})
"""The last is refused by the kernel itself: a way to have connect() fail that leaves no machine."""


@contextmanager
def only_this_machine(allowed_hosts: Iterable[str] = ()) -> Iterator[None]:
    """Refuse connections of Python sockets to anything but loopback and unix sockets.

    `allowed_hosts` are let through too, by name and by each of their addresses.
    """
    allowed = set(allowed_hosts)
    allowed |= {address for host in allowed for address in _addresses(host)}

    def guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[..., Any]:
        def checked(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in allowed:
                _check(address[0])
            return connect(self, address)

        return checked

    with (
        mock.patch.object(socket.socket, "connect", guarded(socket.socket.connect)),
        mock.patch.object(socket.socket, "connect_ex", guarded(socket.socket.connect_ex)),
    ):
        yield


def _check(host: str) -> None:
    if host in _ALLOWED_NAMES:
        return
    try:
        loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise OutsideConnectionError(
            f"a test tried to connect to {host}: tests reach 127.0.0.1 and unix sockets alone; "
            "start a sandbox gateway, or answer the request with `responses`"
        )


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
