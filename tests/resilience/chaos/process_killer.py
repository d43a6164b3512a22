"""What goes wrong, and when: a plan of faults, drawn from a seed, and carried out."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from devstack.postgres import LocalPostgres
from devstack.process_group import ProcessGroup
from devstack.redis import LocalRedis
from sandbox.server import Gateway

_KILL_EVERY = (2.0, 5.0)
_LATENCY_SECONDS = 0.2

_RATES = {
    "accept_then_silence": 0.03,
    "accept_then_close": 0.03,
    "accept_then_500": 0.03,
    "accept_then_rubbish": 0.02,
    "drop_before_accepting": 0.03,
    "wrong_response_signature": 0.02,
    "refuse:2999": 0.02,
    "refuse": 0.02,
    "fail": 0.03,
    "no_callback": 0.05,
    "duplicate_callback": 0.05,
    "out_of_order_callback": 0.03,
    "wrong_callback_signature": 0.03,
    "hidden:2": 0.05,
    "cancelled": 0.02,
    "fee_kept": 0.02,
    "pending": 0.02,
}


class Monkey:
    """Kills processes every few seconds, and servers by plan, until `seconds` are over."""

    def __init__(
        self,
        processes: ProcessGroup,
        postgres: LocalPostgres,
        redis: LocalRedis,
        gateway: Gateway,
        seconds: float,
        seed: int,
        servers: str = "all",
    ) -> None:
        """Take what it may break; `servers` is "all", "redis" or "none": those beside processes."""
        self._processes = processes
        self._postgres = postgres
        self._redis = redis
        self._gateway = gateway
        self._seconds = seconds
        self._servers = servers
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.did: Counter[str] = Counter()
        self.error: BaseException | None = None

    def start(self) -> None:
        seed = self._random.randint(0, 10**6)
        self._gateway.set_faults(rates=_RATES, seed=seed, latency_seconds=_LATENCY_SECONDS)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        self._gateway.clear_faults()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001 - told by join()
            self.error = error

    def _play(self) -> None:
        began = time.monotonic()
        plan = self._plan()
        next_kill = 3.0
        while (now := time.monotonic() - began) < self._seconds:
            if plan and now >= plan[0][0]:
                _, name, act = plan.pop(0)
                act()
                self.did[name] += 1
            elif now >= next_kill:
                self._kill_one()
                next_kill = now + self._random.uniform(*_KILL_EVERY)
            else:
                time.sleep(0.1)

    def _plan(self) -> list[tuple[float, str, Callable[[], None]]]:
        acts: list[tuple[float, str, Callable[[], None]]] = [
            (0.15, "Redis killed, came back empty", self._lose_redis),
            (0.30, "PostgreSQL restarted in immediate mode", self._restart_postgres),
            (0.40, "gateway down (connections refused)", self._gateway_down("refuse", 6)),
            (0.55, "gateway down (connections dropped)", self._gateway_down("drop", 4)),
            (0.62, "gateway down (HTTP 503)", self._gateway_down("503", 4)),
            (0.72, "Redis killed, came back empty", self._lose_redis),
            (0.82, "PostgreSQL restarted in immediate mode", self._restart_postgres),
            (0.92, "Redis frozen for 8 s", self._freeze_redis),
        ]
        wanted = {"all": "", "redis": "Redis killed", "none": "nothing"}[self._servers]
        return [(share * self._seconds, name, act) for share, name, act in acts if wanted in name]

    def _kill_one(self) -> None:
        victims = ["worker-1", "worker-2", "reconciler", "beat-1", "beat-2", "webhook"]
        weights = [4, 4, 3, 1, 1, 1]
        name = self._random.choices(victims, weights)[0]
        self._processes[name].kill()
        self._processes.restart(name)
        self.did[f"{name} killed (SIGKILL)"] += 1

    def _lose_redis(self) -> None:
        self._redis.kill()
        time.sleep(2)
        self._redis.start(wipe=True)

    def _freeze_redis(self) -> None:
        with self._redis.paused():
            time.sleep(8)

    def _restart_postgres(self) -> None:
        self._postgres.kill()
        time.sleep(3)
        self._postgres.start()

    def _gateway_down(self, mode: str, seconds: float) -> Callable[[], None]:
        def down() -> None:
            self._gateway.set_faults(down_seconds=seconds, mode=mode)

        return down
