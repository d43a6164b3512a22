"""The sandbox as a running server, inside this process."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

from sandbox.app import create_app
from sandbox.http_server import Door
from sandbox.settings import PREFIX, SandboxConfig
from sandbox.state import SandboxState

_LAST_ANSWERS_SECONDS = 2.0


class Gateway:
    """A gateway over real HTTP, in threads of this process. It is a context manager."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.state = SandboxState(self.config)
        self._door = Door(self.config.host, self.config.port, create_app(self.state))
        self.state.outage.open_door = self._door.open
        self.state.outage.close_door = self._door.close
        self._stop_lock = threading.Lock()
        self._stopped = False

    def start(self) -> Self:
        """Listen, and start the clock of orders; raises OSError when the port is taken."""
        self._door.open()
        self.state.start()
        return self

    def stop(self) -> None:
        """Stop listening, let go of held connections, end all threads. Twice does no harm."""
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
        self.state.stop()
        self._door.close()
        end = time.monotonic() + _LAST_ANSWERS_SECONDS
        while self._door.connections.count and time.monotonic() < end:
            time.sleep(0.01)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on, known after `start`."""
        return self._door.port

    @property
    def root_url(self) -> str:
        """The address under which the /_ paths live."""
        host = "127.0.0.1" if self.config.host in {"", "0.0.0.0"} else self.config.host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The address for EPAY_BASE_URL."""
        return self.root_url + PREFIX

    def ledger(self) -> dict[str, Any]:
        """Give what `GET /_ledger` answers."""
        return self.state.book.ledger()

    def set_faults(self, **faults: Any) -> dict[str, Any]:
        """Do what `POST /_faults` does, for example with down_seconds=3, mode="refuse"."""
        return self.state.set_faults(faults)

    def clear_faults(self) -> None:
        """Do what `DELETE /_faults` does, during an outage too, when that path is away."""
        self.state.clear_faults()

    def report(self, merchant_order_no: str, status: str, *, callback: bool = True) -> bool:
        """Do what `POST /_orders/<no>/report` does; False if there is no such order."""
        return self.state.report(merchant_order_no, status, callback=callback)

    def reset(self) -> None:
        """Do what `POST /_reset` does."""
        self.state.reset()
