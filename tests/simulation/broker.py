"""Redis and Celery at their worst: messages lost, doubled, shuffled, come again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

VISIBILITY = timedelta(seconds=120)


@dataclass
class Delivery:
    """One message on its way."""

    task: str
    kwargs: dict[str, Any]
    taken_at: datetime | None = None


@dataclass
class SimBroker:
    """The queues, and what was taken from them without having been acknowledged."""

    waiting: list[Delivery] = field(default_factory=list)
    unacked: list[Delivery] = field(default_factory=list)

    def publish(self, task: str, kwargs: dict[str, Any]) -> None:
        self.waiting.append(Delivery(task, kwargs))

    def take(self, nth: int, now: datetime, *, leave_copy: bool = False) -> Delivery:
        taken = self.waiting[nth] if leave_copy else self.waiting.pop(nth)
        delivery = Delivery(taken.task, taken.kwargs, now)
        self.unacked.append(delivery)
        return delivery

    def ack(self, delivery: Delivery) -> None:
        self.unacked = [one for one in self.unacked if one is not delivery]

    def give_back(self, delivery: Delivery) -> None:
        if any(one is delivery for one in self.unacked):
            self.ack(delivery)
            self.publish(delivery.task, delivery.kwargs)

    def restore(self, now: datetime) -> None:
        """What was not acknowledged in time comes again, whether its task still runs or not."""
        for delivery in list(self.unacked):
            if delivery.taken_at is not None and now - delivery.taken_at >= VISIBILITY:
                self.give_back(delivery)

    def next_event(self) -> list[datetime]:
        return [one.taken_at + VISIBILITY for one in self.unacked if one.taken_at is not None]

    def wipe(self) -> None:
        self.waiting.clear()
        self.unacked.clear()
