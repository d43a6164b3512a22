"""A worker's context with everything that law 11 gives it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.messaging.owner import KEY
from shared.redis_client import RedisClient
from shared.storage import deployment, pauses
from tests.support.jobs import ACCOUNT
from tests.support.send_guard import AllowAll
from worker.deployment import DatabaseWatch
from worker.send_guard.guard import SendGuard
from worker.send_guard.pauses import PauseCache
from worker.send_guard.permit import CheckResult
from worker.send_guard.witness import SendWitness

if TYPE_CHECKING:
    from tests.integration.conftest import World


class PausesOnly(AllowAll):
    """A send guard that knows the pauses, and reads them each time."""

    def __init__(self, watch: DatabaseWatch) -> None:
        self._watch = watch

    def check(self, payout: Any, *, max_wait: timedelta) -> CheckResult:
        guard = SendGuard.__new__(SendGuard)
        guard._pauses = PauseCache(self._watch.pauses)
        return guard._check_pauses(payout) or self


@dataclass
class Watched:
    """A worker on a database, with everything that law 11 gives it."""

    world: World
    watch: DatabaseWatch
    redis: RedisClient

    def __post_init__(self) -> None:
        engine = self.world.engine
        witness = SendWitness(
            self.redis,
            timedelta(days=1),
            lambda *claim: deployment.remembers(engine, *claim),
            self.watch.current,
            lambda now: deployment.note_missed_mark(engine, now),
            self.world.context.clock,
        )
        self.world.context = replace(
            self.world.context,
            send_guard=PausesOnly(self.watch),
            witness=witness,
            find_forgotten_send=witness.look,
            watch_database=lambda now: self.watch.sweep(witness, now),
        )

    def active(self) -> list[str | None]:
        """The codes of the pauses in force."""
        return [pause.code for pause in pauses.active(self.world.engine)]

    def known(self) -> dict[str, str]:
        """What Redis holds of the deployment."""
        return {str(name): str(value) for name, value in self.redis.client.hgetall(KEY).items()}


def owner(token: str) -> dict[str, str]:
    return {"account": ACCOUNT, "gateway": "127.0.0.1", "database": token}
