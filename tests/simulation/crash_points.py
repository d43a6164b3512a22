"""The boundaries between I/O steps: there the world may run something else, or end the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import OperationalError

from tests.simulation.memory_store import MemoryStore
from tests.simulation.seeded_choices import Choices

_GUARDED = (
    "insert",
    "apply",
    "update",
    "update_many",
    "update_by_order_no",
    "update_within_cap",
    "expire_leases",
    "flag_overdue",
    "claim_due",
    "find",
    "find_standing",
    "find_alike",
    "newest_ended",
    "get_claimed",
    "get_claimed_keys",
    "record_unmatched_event",
    "record_refused_request",
    "add_messages",
    "relay_outbox",
)


def away(reason: str) -> OperationalError:
    """PostgreSQL's absence, as the driver tells it."""
    return OperationalError(reason, None, ConnectionError())


class BoundaryStore:
    """The store, with a pause before and after each transaction, and PostgreSQL away at times.

    Away after the commit is the cruel case: it is on disk, and we are told that it failed.
    """

    def __init__(
        self,
        store: MemoryStore,
        pause: Callable[[str], None],
        choices: Choices,
        faults: Callable[[], bool],
    ) -> None:
        self.model = store
        self.allow_alike = store.allow_alike
        for name in _GUARDED:
            setattr(self, name, self._guarded(name, pause, choices, faults))

    def _guarded(
        self,
        name: str,
        pause: Callable[[str], None],
        choices: Choices,
        faults: Callable[[], bool],
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            pause(f"{name}: before the commit")
            fate = choices.pick((40, 1, 1)) if faults() else 0
            if fate == 1:
                raise away("away before the commit")
            result = getattr(self.model, name)(*args, **kwargs)
            if fate == 2:
                raise away("away after the commit")
            pause(f"{name}: after the commit")
            return result

        return call
