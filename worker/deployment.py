"""Watches that the database did not go back in time, and stops sending if it did (law 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import structlog
from sqlalchemy import Engine

from shared.clock import utcnow
from shared.config.settings import Settings
from shared.messaging.owner import (
    HIGH_WATER,
    REBUILD_ALL,
    REBUILD_BELOW,
    REDIS_RUN,
    DeploymentMarks,
    other_owner,
    owner_of,
)
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage import deployment
from shared.storage.deployment import Deployment
from shared.storage.pauses import DATABASE_CHANGED, Pause
from worker.send_guard.witness import SendWitness

log = structlog.get_logger(__name__)

_NO_RECORD = "the database has no record of this deployment: it is another one, or an old backup"
_NO_TOKEN = "none"  # noqa: S105 - it names a database without a token
_MAX_LAG = 20
"""So many sweeps at once leave the mark in Redis behind for a moment."""
_ABOVE_ALL_IDS = 2**61


class DatabaseWatch:
    """Compares the database with its own deployment row, and with the mark that Redis holds.

    The process has called `start` before, perhaps of another watch: a database without a deployment
    row is then another database. Safe to share between threads.
    """

    def __init__(
        self, engine: Engine, redis: RedisClient, owner: Callable[[str], dict[str, str]]
    ) -> None:
        """`owner` makes the owner's fields from the database's token."""
        self._engine = engine
        self._marks = DeploymentMarks(redis)
        self._owner = owner
        self._current: Deployment | None = None

    def current(self) -> Deployment | None:
        """The deployment as last read; as a rule by `pauses`, before every send."""
        if self._current is None:
            self._current = deployment.find(self._engine)
        return self._current

    def pauses(self) -> list[Pause]:
        """The pauses in force; sets one if the database is another than its row says."""
        found, active = deployment.find_with_pauses(self._engine)
        self._current = found
        reason = _NO_RECORD if found is None else found.difference
        if reason and not any(pause.code == DATABASE_CHANGED for pause in active):
            active.append(deployment.pause_sending(self._engine, reason, utcnow()))
        return active

    def start(self) -> str | None:
        """Record or compare the identities of database and Redis; why not to start, or None.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        before = self._marks.read()  # first: what it holds was in the database before
        if deployment.find(self._engine) is None:
            problem = other_owner(self._owner(_NO_TOKEN), before)
            if problem is not None:
                return problem  # no record is made: the workers that run see that there is none
        self._current = found = deployment.pin(self._engine)
        known = self._claim(found)
        owner = self._owner(found.token)
        if known and (problem := other_owner(owner, known)) is not None:
            return problem
        if any(known.get(name, value) != value for name, value in owner.items()):
            self._marks.write(owner)  # new settings of the same deployment
        behind = _behind(before, found.high_water + 1)
        if reason := found.difference or behind:
            deployment.pause_sending(self._engine, reason, utcnow())
        return None

    def compare(self) -> str | None:
        """Why a process that records nothing must not use this Redis; None: it may.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        found = deployment.find(self._engine)
        token = "" if found is None else found.token
        return other_owner(self._owner(token), self._marks.read())

    def sweep(self, witness: SendWitness, now: datetime) -> None:
        """Count the sweep in the database and then in Redis; pause where they disagree.

        The marks of a Redis that was emptied, or went back itself, are written anew.
        """
        try:
            known = self._marks.read()  # first: what it holds was in the database before
        except RedisUnavailable:
            known = None
        found = deployment.advance(self._engine)
        if found is None:
            reason: str | None = _NO_RECORD
        else:
            reason = found.difference
            if known and reason is None:
                reason = other_owner(self._owner(found.token), known)
                reason = reason or _behind(known, found.high_water)
        if reason is not None:
            deployment.pause_sending(self._engine, reason, now)
        elif found is not None and known is not None:
            try:
                self._mirror(found, known, witness, now)
            except RedisUnavailable:
                log.warning("deployment_not_mirrored")

    def _mirror(
        self, found: Deployment, known: Mapping[str, str], witness: SendWitness, now: datetime
    ) -> None:
        if not known:
            self._claim(found)
            return
        run, below = self._redis_run(), known.get(REBUILD_BELOW)
        lag = found.high_water - int(known.get(HIGH_WATER, 0))
        went_back = lag > _MAX_LAG or run not in {"", known.get(REDIS_RUN)}
        if below != REBUILD_ALL and (went_back or found.marks_missed):
            self._begin_rebuild(found, run, went_back=went_back)
        elif below is not None:
            self._rebuild(below, witness, now)
        self._marks.raise_high_water(found.high_water)

    def _begin_rebuild(self, found: Deployment, run: str, *, went_back: bool) -> None:
        """Let the next sweeps write the marks anew; what is open need not be asked about."""
        log.warning("marks_of_sends_are_missing", redis_went_back=went_back)
        begin = str(_ABOVE_ALL_IDS + found.high_water)  # another one each time
        if self._marks.update({REBUILD_BELOW: begin, REDIS_RUN: run}) and found.marks_missed:
            deployment.forget_missed_marks(self._engine, found.marks_missed)

    def _rebuild(self, below: str, witness: SendWitness, now: datetime) -> None:
        """Write the marks of one page of payouts anew, the newest first."""
        if below == REBUILD_ALL:
            log.warning("redis_was_emptied", asked_about=deployment.ask_open(self._engine, now))
        page, next_below = deployment.sent_below(self._engine, int(below), now - witness.kept)
        witness.write_anew(page)
        self._marks.note_rebuilt(below, next_below)

    def _claim(self, found: Deployment) -> dict[str, str]:
        """Claim Redis if it is empty; what it held before."""
        fields = self._owner(found.token) | {
            HIGH_WATER: str(found.high_water),
            REDIS_RUN: self._redis_run(),
        }
        if found.high_water:
            fields[REBUILD_BELOW] = REBUILD_ALL
        return self._marks.claim(fields)

    def _redis_run(self) -> str:
        try:
            return self._marks.redis_run()
        except RedisUnavailable:  # a Redis that refuses INFO is not known to have gone back
            return ""


def make_watch(settings: Settings, engine: Engine, redis: RedisClient) -> DatabaseWatch:
    """The watch of a process with these settings."""
    return DatabaseWatch(engine, redis, lambda token: owner_of(settings, token))


def _behind(known: Mapping[str, str], high_water: int) -> str | None:
    """How the database is behind the mark in Redis, which was written after it; None: it is not."""
    mark = int(known.get(HIGH_WATER, 0))
    if mark < high_water:
        return None
    return f"the database counts {high_water} sweeps, and Redis remembers {mark}: it lost commits"
