"""EPAY as it might be at its worst: it pays whatever it is sent twice, and tells when it likes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from shared.domain.gateway import (
    CreateOrder,
    NeverSent,
    OrderAnswer,
    OutcomeUnknown,
    Refused,
    Report,
)
from shared.epay.transport import TOO_LATE
from tests.simulation.seeded_choices import Choices

ACCOUNT = "shop@epay.com"
NOT_FOUND = "2001"
REFUSED = "2005"
ODD = "2999"
DUPLICATE = "2004"
SECOND = "second-"
"""Begins the order number of a second order at EPAY."""
BAD_KEY = "2002"

LONGEST_LAG = timedelta(seconds=240)
"""How late an order may be accepted or become visible: below half of the settle time."""

_CREATE_FAULTS = (
    "",
    "connection refused",
    "dropped before accepting",
    "accepted, no answer",
    "refused for good",
    "refused with an odd code",
    "accepted, answered with an odd code",
    "no answer, accepted minutes later",
    "accepted, answered with another amount",
)
_ENDS = ("7", "6", "5", "8", "20")


@dataclass
class Order:
    """One order at the gateway."""

    no: str
    amount: Decimal
    currency: str
    visible_at: datetime
    ends_at: datetime
    end: str
    ended: bool = False


@dataclass
class Mood:
    """What the gateway does in this world; all of it harmless by default."""

    refuses_duplicates: bool = False
    faults: bool = False
    contradicts: bool = False
    second_number: bool = False
    """Now and then it names another order number of its own under ours, or none."""
    busy_until: datetime | None = None
    """Until then most queries of what has not ended are answered with a code that says nothing."""
    wrong_key: tuple[datetime, datetime] | None = None
    """In between our key is not EPAY's: every call is refused."""
    one_code: bool = True
    """It is refused with the code of an unknown order, as EPAY's documentation allows."""


@dataclass
class SimGateway:
    """The gateway's side of the world."""

    choices: Choices
    clock: Callable[[], datetime]
    pause: Callable[[str], None]
    total_timeout: timedelta
    transactions_open: Callable[[], int]
    mood: Mood = field(default_factory=Mood)
    orders: dict[str, list[Order]] = field(default_factory=lambda: defaultdict(list))
    payments: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    creates: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    queries: int = 0
    said: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Every status that it told us, in words that count: by order, or by `order its number`."""
    refused_definitely: set[str] = field(default_factory=set)
    played: Counter[str] = field(default_factory=Counter)
    """How often each fault was played."""
    underway: list[tuple[datetime, CreateOrder]] = field(default_factory=list)
    """Creates whose sender has given up, and that arrive all the same."""
    callbacks: list[tuple[datetime, Report]] = field(default_factory=list)

    def create(
        self, order: CreateOrder, *, is_late: Callable[[], bool], **_: object
    ) -> OrderAnswer:
        assert not self.transactions_open(), "law 9: a transaction is open during the request"
        assert not order.account_no.startswith("fernet:"), "law 15: a number that was not decrypted"
        began = self.clock()
        self.pause(f"create {order.merchant_order_no}: before it leaves")
        if self.clock() - began > self.total_timeout:
            return NeverSent("total timeout")
        if is_late():
            return NeverSent(TOO_LATE)
        answer = self._received(order)
        self.pause(f"create {order.merchant_order_no}: before the answer is in")
        if self.clock() - began > self.total_timeout:
            return OutcomeUnknown("total timeout")
        self._note_said(answer)
        return answer

    def query(self, no: str) -> OrderAnswer:
        assert not self.transactions_open(), "law 9: a transaction is open during the request"
        self.queries += 1
        self.pause(f"query {no}: before it leaves")
        answer = self._asked(no)
        self.pause(f"query {no}: before the answer is in")
        self._note_said(answer)
        return answer

    def tick(self) -> None:
        """What happens by itself at this time."""
        now = self.clock()
        for due in [one for one in self.underway if one[0] <= now]:
            self.underway.remove(due)
            self._accept(due[1], due[0])
        for orders in self.orders.values():
            for order in orders:
                if not order.ended and order.ends_at <= now:
                    self._end(order)

    def next_event(self) -> list[datetime]:
        """When something happens by itself next."""
        times = [at for at, _ in self.underway] + [at for at, _ in self.callbacks]
        times += [
            order.ends_at for orders in self.orders.values() for order in orders if not order.ended
        ]
        return times

    def take_callback(self, nth: int) -> Report:
        """Deliver a callback."""
        report = self.callbacks.pop(nth)[1]
        self._note_said(report)
        return report

    def lose_callback(self, nth: int) -> Report:
        """Take a callback that does not count, because its signature will not hold."""
        return self.callbacks.pop(nth)[1]

    def _received(self, order: CreateOrder) -> OrderAnswer:
        if (refused := self._refuse_key()) is not None:
            return refused
        self.creates[order.merchant_order_no] += 1
        if self.orders[order.merchant_order_no] and self.mood.refuses_duplicates:
            return Refused(DUPLICATE, "duplicate merchantOrderNo")
        fault = self.choices.pick((8, 1, 1, 3, 1, 1, 1, 5, 1)) if self.mood.faults else 0
        if fault:
            self.played[f"create: {_CREATE_FAULTS[fault]}"] += 1
        match fault:
            case 1:
                self.creates[order.merchant_order_no] -= 1
                return NeverSent("connection refused")
            case 2:
                return OutcomeUnknown("dropped before accepting")
            case 3:
                self._accept(order)
                return OutcomeUnknown("read timeout")
            case 4 if not self.orders[order.merchant_order_no]:
                self.refused_definitely.add(order.merchant_order_no)
                return Refused(REFUSED, "insufficient balance")
            case 5:
                return Refused(ODD, "try again later")
            case 6:
                self._accept(order)
                return Refused(ODD, "internal error")
            case 7:
                late = timedelta(seconds=(0, 20, 120, 235)[self.choices.between(0, 3)])
                self.underway.append((self.clock() + late, order))
                return OutcomeUnknown("read timeout")
            case 8:
                self._accept(order)
                return self._report(order.merchant_order_no, "create", amount=Decimal("99.99"))
            case _:
                self._accept(order)
                return self._report(order.merchant_order_no, "create")

    def _accept(self, order: CreateOrder, at: datetime | None = None) -> None:
        """Take an order in, now or when it arrived: EPAY does not sleep while our clock leaps."""
        now = at or self.clock()
        lag = timedelta(0)
        end = "7"
        if self.mood.faults:
            lag = timedelta(seconds=(0, 40, 235)[self.choices.pick((4, 1, 4))])
            self.played["order visible late"] += bool(lag)
            end = _ENDS[self.choices.pick((6, 2, 1, 1, 1))]
        slow = 4 if self.mood.busy_until else 1
        takes = timedelta(seconds=(1, 30, 3600, 400_000)[self.choices.pick((6, 3, slow, 0.2))])
        self.orders[order.merchant_order_no].append(
            Order(
                order.merchant_order_no,
                Decimal(order.amount),
                order.currency,
                now + lag,
                now + takes,
                end,
            )
        )

    def _end(self, order: Order) -> None:
        order.ended = True
        if order.end == "7":
            self.payments[order.no] += 1
        copies = self.choices.pick((5, 4, 2, 1))
        if copies:
            self.played[f"callback {('', 'lost', 'doubled', 'again, late')[copies]}"] += 1
        for copy in ((0,), (), (0, 0), (0, 60))[copies]:
            at = self.clock() + timedelta(seconds=copy)
            self.callbacks.append((at, self._callback(order, order.end)))
        if self.mood.faults and self.choices.happens(0.1):
            self.callbacks.append((self.clock(), self._callback(order, "1")))
        if self.mood.faults and self.choices.happens(0.05):
            self.played["callback with another amount"] += 1
            wrong = self._callback(order, "7", amount=order.amount + 1)
            self.callbacks.append((self.clock(), wrong))
        if self.mood.contradicts and self.choices.happens(0.3):
            self.played["callback that contradicts"] += 1
            other = "6" if order.end == "7" else "7"
            self.callbacks.append((self.clock(), self._callback(order, other)))
        if self.mood.second_number and self.choices.happens(0.5):
            self.played["callback about a second order"] += 1
            code = ("6", "7", "1")[self.choices.between(0, 2)]
            later = self.clock() + timedelta(seconds=(0, 60, 7200)[self.choices.between(0, 2)])
            second = replace(self._callback(order, code), epay_order_no=f"{SECOND}{order.no}")
            self.callbacks.append((later, second))

    def _callback(self, order: Order, status: str, amount: Decimal | None = None) -> Report:
        return Report(
            "callback",
            ACCOUNT,
            order.no,
            f"E-{order.no}",
            status,
            order.amount if amount is None else amount,
            order.currency,
        )

    def remember(self, no: str, amount: Decimal, at: datetime) -> None:
        """Know an order that was paid before the story begins."""
        self.orders[no].append(Order(no, amount, "USD", at, at, "7", ended=True))
        self.payments[no], self.said[no] = 1, {"7"}

    def is_key_wrong(self) -> bool:
        """Whether our key is not EPAY's now: no call is answered, no callback verified."""
        wrong = self.mood.wrong_key
        return wrong is not None and wrong[0] <= self.clock() < wrong[1]

    def _refuse_key(self) -> Refused | None:
        if not self.is_key_wrong():
            return None
        self.played["refused for our key"] += 1
        return Refused(NOT_FOUND if self.mood.one_code else BAD_KEY, "refused")

    def _asked(self, no: str) -> OrderAnswer:
        if (refused := self._refuse_key()) is not None:
            return refused
        ended = any(order.ended for order in self.orders[no])
        until = self.mood.busy_until
        busy = until is not None and self.clock() < until and not ended
        weights = (1, 1, 8) if busy else (12, 1, 1)
        fault = self.choices.pick(weights) if self.mood.faults or busy else 0
        if fault:
            self.played[f"query: {('', 'no answer', 'a code that says nothing')[fault]}"] += 1
        if fault == 1:
            return OutcomeUnknown("read timeout")
        if fault == 2:
            return Refused(ODD, "busy")
        self.tick()
        if not any(order.visible_at <= self.clock() for order in self.orders[no]):
            return Refused(NOT_FOUND, "no such order")
        return self._report(no, "query")

    def _report(self, no: str, source: str, amount: Decimal | None = None) -> Report:
        order = self.orders[no][0]
        report = Report(
            source,
            ACCOUNT,
            no,
            f"E-{no}",
            order.end if order.ended else "1",
            order.amount if amount is None else amount,
            order.currency,
        )
        odd = self.choices.pick((3, 1, 1)) if self.mood.second_number else 0
        if odd == 1:
            self.played[f"{source}: a second order"] += 1
            code = ("7", "6", "1")[self.choices.between(0, 2)]
            return replace(report, status=code, epay_order_no=f"{SECOND}{no}")
        if odd:
            self.played[f"{source}: without EPAY's number"] += 1
            return replace(report, epay_order_no=None)
        return report

    def _note_said(self, answer: OrderAnswer) -> None:
        if isinstance(answer, Report) and answer.merchant_order_no and answer.status:
            order = self.orders[answer.merchant_order_no][0]
            if answer.amount == order.amount:
                about = (answer.merchant_order_no, answer.epay_order_no)
                self.said[" ".join(filter(None, about))].add(answer.status)
