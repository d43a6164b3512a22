"""A TCP proxy before Redis that breaks connections in the ways that networks do.

It reads the commands of the clients one by one, so that a fault can hit a certain command.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

Command = tuple[bytes, ...]

_CHUNK = 65_536
_WAITS = frozenset({b"BRPOP", b"BLMOVE"})
_NOTHING_CAME = frozenset({b"*-1\r\n", b"$-1\r\n", b"_\r\n"})


class Proxy:
    """Listens on a port of 127.0.0.1 and passes everything on to Redis; a context manager."""

    def __init__(self, port: int) -> None:
        """Nothing is listened to yet; `port` is that of the Redis."""
        self.target = port
        self.passed: Counter[bytes] = Counter()
        """How many commands of each name were passed on."""
        self.lost: list[Command] = []
        """The commands whose reply was dropped."""
        self.copied = 0
        """How many messages were put on the queue twice."""
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._silent = False
        self._doomed: list[Callable[[Command], bool]] = []
        self._copy: _Copier | None = None
        self._door = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()
        self.close_all()

    @property
    def url(self) -> str:
        """What to give as REDIS_URL."""
        return f"redis://127.0.0.1:{self._door.getsockname()[1]}/0"

    def close_all(self) -> int:
        """Close every connection cleanly, as a server does that restarts; how many there were."""
        links = self._now()
        for link in links:
            link.close()
        return len(links)

    def silence(self, *, new: bool = False) -> int:
        """Let every connection die without a word: bytes are taken, and go nowhere, either way.

        Args:
            new: connections made from now on are as dead, until `heal`.

        Returns:
            How many connections died.
        """
        with self._lock:
            self._silent = new
        links = self._now()
        for link in links:
            link.silent = True
        return len(links)

    def heal(self) -> None:
        """New connections live. The dead stay dead: nobody tells their ends."""
        with self._lock:
            self._silent = False

    def lose_reply(self, name: bytes, holding: bytes = b"") -> None:
        """Carry out the next command of this name, then cut its connection instead of answering.

        Args:
            name: in capitals. A BRPOP or BLMOVE counts only when something comes of it.
            holding: a text that one of the command's arguments, or what it pops, must hold.
        """
        with self._lock:
            self._doomed.append(lambda said: said[0] == name and any(holding in x for x in said))

    @contextlib.contextmanager
    def copying(self, seed: int, longest: float) -> Iterator[None]:
        """Put every message of Celery's on its queue twice, the copy up to `longest` seconds later.

        The later copies overtake each other and all that is sent meanwhile. All have been put when
        the block ends.
        """
        self._copy = _Copier(self.target, random.Random(seed), longest)
        try:
            yield
        finally:
            copier, self._copy = self._copy, None
            self.copied += copier.finish()

    def spoils(self, said: Command) -> bool:
        """Whether the reply to this command is to be lost, which it then is once."""
        with self._lock:
            for doomed in self._doomed:
                if doomed(said):
                    self._doomed.remove(doomed)
                    self.lost.append(said)
                    return True
            return False

    def passing(self, command: Command, raw: bytes) -> None:
        """Note a command on its way to Redis."""
        with self._lock:
            self.passed[command[0]] += 1
        if (copier := self._copy) is not None and command[0] == b"LPUSH":
            copier.add(raw)

    def forget(self, link: _Link) -> None:
        """A connection has ended."""
        with self._lock:
            self._links.discard(link)

    def _now(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                link = _Link(self, client, server, silent=self._silent)
                self._links.add(link)
            link.start()


class _Link:
    """One connection through the proxy: two threads, one for each way."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, server: socket.socket, *, silent: bool
    ) -> None:
        self.silent = silent
        self._proxy = proxy
        self._client = client
        self._server = server
        self._last: Command = (b"",)
        self._spoiled = False

    def start(self) -> None:
        for pump, source in ((self._upwards, self._client), (self._downwards, self._server)):
            thread = threading.Thread(target=self._run, args=(pump, source), daemon=True)
            thread.start()

    def close(self) -> None:
        """End both sides."""
        self._proxy.forget(self)
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _run(self, pump: Callable[[], None], source: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            pump()
        # Where the line is dead, nobody hears that the other side has hung up.
        if not self.silent:
            self.close()

    def _upwards(self) -> None:
        commands = _Commands()
        while data := self._client.recv(_CHUNK):
            for command, raw in commands.feed(data):
                if self.silent:
                    continue
                self._proxy.passing(command, raw)
                self._last = command
                if command[0] not in _WAITS and self._proxy.spoils(command):
                    self._spoiled = True
                self._server.sendall(raw)

    def _downwards(self) -> None:
        while data := self._server.recv(_CHUNK):
            if self.silent:
                continue
            came = self._last[0] in _WAITS and data not in _NOTHING_CAME
            if self._spoiled or (came and self._proxy.spoils((self._last[0], data))):
                return
            self._client.sendall(data)


class _Commands:
    """Cuts what a client sends into commands."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[Command, bytes]]:
        """The commands that are complete now, each with its bytes as sent."""
        self._buffer += data
        while (cut := _first_command(self._buffer)) is not None:
            command, length = cut
            raw, self._buffer = self._buffer[:length], self._buffer[length:]
            yield command, raw


def _first_command(data: bytes) -> tuple[Command, int] | None:
    """The command that the bytes begin with, and its length; None while it is not complete."""
    head, found, _ = data.partition(b"\r\n")
    if not found:
        return None
    at = len(head) + 2
    parts = []
    for _ in range(int(head[1:])):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        start = end + 2
        at = start + int(data[at + 1 : end]) + 2
        if at > len(data):
            return None
        parts.append(data[start : at - 2])
    return (parts[0].upper(), *parts[1:]), at


class _Copier:
    """Sends commands a second time, later and in another order."""

    def __init__(self, port: int, chance: random.Random, longest: float) -> None:
        self._redis = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._chance = chance
        self._longest = longest
        self._lock = threading.Lock()
        self._due: list[tuple[float, bytes]] = []
        self._sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
        self._thread.start()

    def add(self, raw: bytes) -> None:
        with self._lock:
            at = time.monotonic() + self._chance.uniform(0, self._longest)
            self._due.append((at, raw))

    def finish(self) -> int:
        """Send what is left, in a random order; how many were sent in all."""
        self._over.set()
        self._thread.join()
        self._send([raw for _, raw in self._due])
        self._redis.close()
        return self._sent

    def _work(self) -> None:
        while not self._over.wait(0.02):
            now = time.monotonic()
            with self._lock:
                ready = [raw for at, raw in self._due if at <= now]
                self._due = [entry for entry in self._due if entry[0] > now]
            self._send(ready)

    def _send(self, ready: list[bytes]) -> None:
        self._chance.shuffle(ready)
        for raw in ready:
            self._redis.sendall(raw)
            self._redis.recv(64)
            self._sent += 1
