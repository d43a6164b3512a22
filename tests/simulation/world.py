"""The simulated world: requesting apps, broker, workers, webhook and gateway on one clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

from greenlet import greenlet
from sqlalchemy.exc import OperationalError

from ops.resolution import actions
from ops.resolution.actions import Action, Decision
from shared.contract import (
    TASK_CALLBACK,
    TASK_NOTIFY,
    TASK_QUERY,
    TASK_REQUEST,
    TASK_SUBMIT,
    TASK_SWEEP,
)
from shared.domain import lifecycle, review
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts, account_key
from shared.domain.backoff import DEFAULT_SUBMIT_BACKOFF
from shared.domain.gateway import OrderAnswer
from shared.domain.notifications import Message
from shared.domain.payout import PayoutState, Status, Transition
from shared.domain.policy import Policy
from shared.domain.review import code_of
from shared.domain.transitions import FINAL
from shared.messaging.callback_message import CallbackMessage
from shared.storage.outbox import QueueRefused
from tests.simulation.broker import Delivery, SimBroker
from tests.simulation.crash_points import BoundaryStore
from tests.simulation.elsewhere import AWAY, HOME, RESPELLED, AwayGateway
from tests.simulation.gateway import (
    ACCOUNT,
    DUPLICATE,
    NOT_FOUND,
    REFUSED,
    SECOND,
    Mood,
    SimGateway,
)
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.memory_store import MemoryStore
from tests.simulation.operators import Person
from tests.simulation.rollback import SimDeployment
from tests.simulation.seeded_choices import Choices
from tests.simulation.send_guard import SimRefusalPause, SimSendGuard
from tests.support.factories import make_payout, make_report, request_kwargs
from worker.context import Context
from worker.database_retry import DatabaseUnavailable
from worker.jobs.callback import callback
from worker.jobs.notify import notify
from worker.jobs.query import query
from worker.jobs.request import request
from worker.jobs.submit import submit
from worker.jobs.sweep import sweep

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
TOTAL_TIMEOUT = timedelta(seconds=25)
_NO_CAP: Mapping[str, Decimal] = {}
_TRIES = 3
_SECOND_NUMBER = 2
_STALL = "stall"
_AT_THE_DESK = 2
"""The process of a person: it dies too, when somebody closes the window."""
_WILD_STEPS = 120
_CALM_STEPS = 2500


class Crash(BaseException):
    """The process dies here; nothing of it runs any further."""


@dataclass
class Run:
    """A task under way in one of the processes."""

    delivery: Delivery
    process: int
    body: greenlet
    at: str = "begins"


@dataclass
class World:
    """One world, all of whose choices come from `choices`."""

    choices: Choices
    story: list[str] = field(default_factory=list)
    now: datetime = START
    runs: list[Run] = field(default_factory=list)
    told: list[Message] = field(default_factory=list)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    wild: bool = True
    jumps_left: int = 1

    def __post_init__(self) -> None:
        self.broker = SimBroker()
        self.store = MemoryStore()
        self.claims = count(1)
        faults, refuses = self.choices.pick((1, 3)) == 1, self.choices.pick((3, 1)) == 1
        two_stories = self.choices.pick((6, 1, 1))
        self.gateway = SimGateway(
            self.choices,
            lambda: self.now,
            self.pause,
            TOTAL_TIMEOUT,
            lambda: self.store.transactions_open,
            Mood(
                faults=faults,
                refuses_duplicates=refuses,
                contradicts=two_stories == 1,
                second_number=two_stories == _SECOND_NUMBER,
                busy_until=(None, START + timedelta(hours=1))[self.choices.pick((5, 1))],
                wrong_key=self._wrong_key(),
                one_code=self.choices.pick((2, 1)) == 0,
            ),
        )
        codes = self.choices.pick((4, 1, 1))
        self.policy = Policy(
            submit_backoff=(*DEFAULT_SUBMIT_BACKOFF, 21_600),  # what waits elsewhere costs steps
            not_found_codes=frozenset() if codes == 1 else frozenset({NOT_FOUND}),
            refused_codes=frozenset() if codes == 2 else frozenset({REFUSED}),
            duplicate_codes=frozenset({DUPLICATE}) if self.choices.pick((1, 1)) else frozenset(),
            cap_per_payout=(_NO_CAP, {"USD": Decimal(10)})[self.choices.pick((5, 1))],
            cap_per_day=(_NO_CAP, {"USD": Decimal(25)})[self.choices.pick((5, 1))],
            review_after=timedelta(hours=(72, 2)[self.choices.pick((9, 1))]),
        )
        self.stalls = self.choices.pick((5, 1)) == 1
        """The queue `stall` refuses all messages, until nothing else is left to do."""
        self.loses_keys = self.choices.pick((5, 1)) == 1
        if self.choices.pick((3, 1)) == 0:
            self._remember()
        self.people = self.choices.pick((1, 1)) == 1
        self.second_person = self.choices.pick((1, 1)) == 1
        gate_shuts = self.choices.pick((1, 1)) == 1
        self.goes_back = not self.people and self.choices.pick((1, 1)) == 1
        self.deployment = SimDeployment(
            self.store,
            lambda: self.now,
            self.pause if self.goes_back else lambda _: None,
            self.policy,
            ConfiguredAccount(ACCOUNT),
            self.gateway.query,
        )
        self.database_faults = self.choices.pick((2, 1)) == 1
        self.refusal_pause = SimRefusalPause(self.gateway.played)
        self.context = Context(
            account=ACCOUNT,
            policy=self.policy,
            total_timeout=TOTAL_TIMEOUT,
            store=BoundaryStore(  # type: ignore[arg-type]
                self.store, self.pause, self.choices, lambda: self.wild and self.database_faults
            ),
            gateway=self.gateway,
            query_many=self._ask_many,
            publish=self._publish,
            publish_outcome=self._tell,
            oldest_submit=self._oldest_submit,
            database_retry=self,
            send_guard=SimSendGuard(
                self.choices,
                lambda: self.now,
                self.pause,
                lambda: self.wild and gate_shuts,
                self.gateway.played,
                self.refusal_pause,
                lambda: self.deployment.paused,
                lambda: 12 if self.invariants.went_back else 1,
            ),
            refusal_pause=self.refusal_pause,  # type: ignore[arg-type]
            witness=self.deployment.witness,
            find_forgotten_send=self.deployment.look,
            watch_database=self.deployment.watch,
            sweep_batch=5,
            query_batch=2,
            clock=lambda: self.now,
            jitter=lambda: 0.0,
        )
        self.moves = not self.people and not self.goes_back and codes == 0
        self.accounts = HOME
        self.away = {home: AwayGateway(home.accounts[0].account, self.pause) for home in AWAY}
        self._configure(HOME)
        self.invariants = Invariants(self.store, self.gateway, self.policy, self.away)

    def live(self) -> None:
        """Ask for some payouts, be wild for a while, then calm; everything must come to an end.

        Raises:
            Violation: an invariant did not hold.
        """
        for nth in range(self.choices.between(1, 3)):
            self._ask(f"order-{nth}")
        if self.goes_back and self.choices.pick((1, 1)):
            self._go_back()
        for _ in range(self.choices.between(0, _WILD_STEPS)):
            self._step()
        self.say("--- calm ---")
        self.wild = False
        if self.accounts is not HOME:
            self._reconfigure(HOME)
        self.gateway.mood.faults = self.gateway.mood.second_number = False
        self.store.locked.clear()
        for _ in range(_CALM_STEPS):
            if self._settled():
                break
            self._step()
        else:
            open_ones = [row for row in self.store.rows.values() if row.status not in FINAL]
            raise Violation(f"no end in sight: {[(r.status.value, r.due_at) for r in open_ones]}")
        self.invariants.at_the_end(self.asked, self.told)

    def say(self, line: str) -> None:
        self.story.append(f"{(self.now - START).total_seconds():>9.0f} s  {line}")

    def pause(self, where: str) -> None:
        """A boundary: the scheduler decides what goes on."""
        current = greenlet.getcurrent()
        for run in self.runs:
            if run.body is current:
                run.at = where
                current.parent.switch()
                return

    def _wrong_key(self) -> tuple[datetime, datetime] | None:
        """When our key is not EPAY's, if at all in this world."""
        if not self.choices.pick((2, 1)):
            return None
        begin = START + timedelta(seconds=(0, 10, 60)[self.choices.between(0, 2)])
        return begin, begin + timedelta(minutes=(20, 60)[self.choices.between(0, 1)])

    def _remember(self) -> None:
        """A payout of the days before, which EPAY ended: the control of law 12."""
        at = START - timedelta(days=2)
        new = make_payout(at, epay_account=ACCOUNT, merchant_order_no="before", notify=None)
        step = lifecycle.accept(new, claim_id="before", now=at, policy=self.policy)
        (sent,) = self.store.insert([step])
        assert sent is not None
        report = make_report("7", "create", payout=sent, epay_order_no="E-before", fee=None)
        self.store.apply(
            lifecycle.on_create_answer(
                sent, report, claim_id="before", now=at, policy=self.policy, jitter=0.0
            )
        )
        self.gateway.remember("before", sent.amount, at)

    def _step(self) -> None:
        """Do one thing, then look whether the invariants hold."""
        options: list[tuple[float, Callable[[], None]]] = []
        if self.runs:
            options.append((8, self._resume))
        if self.broker.waiting:
            options.append((6, self._deliver))
        if any(at <= self.now for at, _ in self.gateway.callbacks):
            options.append((4, self._callback))
        if self.wild or not options:
            options.append((1 if options else 8, self._advance))
        if not self.wild:
            del options[1:]
        else:
            options += [
                (0.6, self._beat),
                (0.5, self._crash if self.runs else self._advance),
                (1.2 if self.goes_back else 0.4, self._ask_again),
                (0.15, self._wipe),
                (0.15, self._release),
                (1.0 if self.people else 0.0, self._person),
                (0.1, self._jump),
                (0.3 if self.loses_keys else 0.0, self._lose_key),
                (0.8 if self.goes_back else 0.0, self._go_back),
                (0.4 if self.deployment.paused else 0.0, self._recover),
                (0.2 if self.moves else 0.0, self._move),
            ]
        chosen = self.choices.pick([weight for weight, _ in options])
        options[chosen][1]()
        self.gateway.tick()
        self.broker.restore(self.now)
        self.invariants.after_each_step()

    def _ask(self, no: str) -> None:
        notify_on = (["accepted", "final"], ["final"])[self.choices.pick((1, 1))]
        queue = ("shop", _STALL)[self.choices.pick((2, 1))]
        address = {"task": "shop.outcome", "queue": queue, "on": notify_on}
        self.asked[no] = request_kwargs(no, notify=address)
        self.broker.publish(TASK_REQUEST, self.asked[no])
        self.say(f"the app asks for {no}")

    def _ask_again(self) -> None:
        no = list(self.asked)[self.choices.between(0, len(self.asked) - 1)]
        other = self.choices.pick((4, 1)) == 1
        kwargs = self.asked[no] | ({"amount": "11.50"} if other and self._known(no) else {})
        self.broker.publish(TASK_REQUEST, kwargs)
        self.say(f"the app asks for {no} again, amount {kwargs['amount']}")

    def _known(self, no: str) -> bool:
        return any(row.merchant_order_no == no for row in self.store.rows.values())

    def _deliver(self) -> None:
        nth = self.choices.between(0, min(len(self.broker.waiting), 4) - 1) if self.wild else 0
        fate = self.choices.pick((30, 1, 1)) if self.wild else 0
        delivery = self.broker.take(nth, self.now, leave_copy=fate == 1)
        if fate == 2:
            self.broker.ack(delivery)
            self.gateway.played["message lost"] += 1
            self.say(f"lost: {delivery.task}")
            return
        process = self.choices.between(0, 1)
        self.gateway.played["message doubled"] += fate == 1
        self.say(f"process {process} takes {delivery.task}" + (" (doubled)" if fate == 1 else ""))
        run = Run(delivery, process, greenlet(lambda: self._work(delivery)))
        self.runs.append(run)
        self._switch(run)

    def _resume(self) -> None:
        nth = self.choices.between(0, len(self.runs) - 1) if self.wild else 0
        run = self.runs[nth]
        self.say(f"process {run.process} goes on: {run.delivery.task}, {run.at}")
        self._switch(run)

    def _switch(self, run: Run) -> None:
        run.body.switch()
        if run.body.dead:
            self.runs = [one for one in self.runs if one is not run]

    def _crash(self) -> None:
        self._kill(self.choices.between(0, _AT_THE_DESK))

    def _kill(self, process: int) -> None:
        dead = [run for run in self.runs if run.process == process]
        self.gateway.played["process died at a boundary"] += bool(dead)
        self.say(f"process {process} dies: {[(run.delivery.task, run.at) for run in dead]}")
        self.runs = [run for run in self.runs if run.process != process]
        for run in dead:
            run.body.parent = greenlet.getcurrent()
            run.body.throw(Crash)

    def _move(self) -> None:
        """Somebody points the service at another account or gateway, or back; or spells it anew."""
        others = [one for one in (HOME, RESPELLED, *AWAY) if one is not self.accounts]
        self._reconfigure(others[self.choices.between(0, len(others) - 1)])

    def _reconfigure(self, accounts: ConfiguredAccounts) -> None:
        """Every process ends, and starts with other settings."""
        for process in range(_AT_THE_DESK + 1):
            self._kill(process)
        self._configure(accounts)
        self.gateway.played["account or gateway changed"] += 1
        self.say(f"the service starts with {accounts.default}")

    def _configure(self, accounts: ConfiguredAccounts) -> None:
        self.accounts = accounts
        self.context = replace(
            self.context,
            account=accounts.accounts[0].account,
            policy=replace(self.policy, accounts=accounts),
            gateway=self.away.get(accounts, self.gateway),
        )

    def _callback(self) -> None:
        due = [nth for nth, (at, _) in enumerate(self.gateway.callbacks) if at <= self.now]
        nth = due[self.choices.between(0, len(due) - 1) if self.wild else 0]
        is_ours = account_key(self.context.account) == account_key(ACCOUNT)  # else no key fits
        verified = is_ours and (not self.wild or self.choices.pick((8, 1)) == 0)
        verified = verified and not self.gateway.is_key_wrong()
        take = self.gateway.take_callback if verified else self.gateway.lose_callback
        self.gateway.played["callback that cannot be verified"] += not verified
        report = take(nth)
        self.say(f"callback: {report.merchant_order_no} is {report.status}, verified {verified}")
        message = CallbackMessage.of(report, verified=verified)
        self.broker.publish(TASK_CALLBACK, message.model_dump(mode="json", exclude_none=True))

    def _beat(self) -> None:
        self.broker.publish(TASK_SWEEP, {})
        self.broker.publish(TASK_NOTIFY, {})

    def _advance(self) -> None:
        """Time goes on to the next thing that happens by itself, and beat ticks."""
        times = [row.due_at for row in self.store.rows.values() if row.due_at is not None]
        times += self.gateway.next_event() + self.broker.next_event()
        later = [at for at in times if at > self.now]
        if later:
            self.now = min(later)
        for no in self.asked:
            waiting = any(one.task == TASK_REQUEST for one in self.broker.waiting)
            if not self.wild and not self._known(no) and not waiting and not self.runs:
                self.broker.publish(TASK_REQUEST, self.asked[no])
        if not self.wild:
            self._release()
            self._do_what_is_asked()
            if self.deployment.paused:
                self._recover()
        if not any(one.task == TASK_SWEEP for one in self.broker.waiting):
            self._beat()

    def _release(self) -> None:
        """A person lets a payout pass the caps."""
        for row in list(self.store.rows.values()):
            is_ours = self.accounts.missing(row.epay_account, row.epay_gateway) is None
            if is_ours and review.awaits_release(row):
                self.store.update(row.id, self._released)
                self.gateway.played["released by a person"] += 1
                self.say(f"a person releases {row.merchant_order_no}")

    def _released(self, payout: PayoutState) -> Transition:
        decision = Decision(Action.RELEASE, "ann", "it is right")
        return actions.decide(payout, decision, None, now=self.now, policy=self.context.policy)

    def _person(self) -> None:
        """Somebody acts on a payout, at the harness and not through the broker."""
        rows = list(self.store.rows.values())
        if not rows:
            return
        payout = rows[self.choices.between(0, len(rows) - 1)]
        person = Person(self, ("ann", "bob")[self.choices.between(0, 1)], self.second_person)
        seat = Delivery("person", {})
        run = Run(seat, _AT_THE_DESK, greenlet(lambda: self._sit(person, payout)))
        self.runs.append(run)
        self._switch(run)

    def _do_what_is_asked(self) -> None:
        """People settle what waits for them: then everything must come to an end."""
        small = [row for row in self.store.rows.values() if "small" in row.merchant_order_no]
        lacks = any(row.status is Status.UNKNOWN for row in self.store.rows.values()) and (
            self.store.newest_ended(
                ConfiguredAccount(ACCOUNT), self.now - self.policy.visibility_delay
            )
            is None
        )
        idle = all(row.status in {*FINAL, Status.UNKNOWN} for row in small) and len(small) < 9
        if self.people and lacks and idle and not self.gateway.is_key_wrong():
            self._ask(f"small-{len(self.asked)}")  # as docs/operations.md says for the first day
        for row in list(self.store.rows.values()):
            if self.people and self._waits_for_a_person(row):
                Person(self, "ann", self.second_person).settle(row)

    @staticmethod
    def _sit(person: Person, payout: PayoutState) -> None:
        with contextlib.suppress(Crash):
            person.act(payout)

    def _go_back(self) -> None:
        """A backup is made, or the newest one is restored; sessions end, processes live on."""
        if self.deployment.backup is None:
            self.deployment.take_backup()
            self.say("a backup is made")
            return
        fate = self.choices.pick((2, 1, 2))
        what = ("unseen", "seen", "seen, and Redis emptied")[fate]
        self.deployment.go_back(shows=fate > 0)
        if fate > 1:
            self._wipe()
        self.invariants.forget()
        self.gateway.played[f"database went back, {what}"] += 1
        self.say(f"the database goes back, {what}")
        if self.choices.pick((1, 1)):
            for no in list(self.asked):
                self.broker.publish(TASK_REQUEST, self.asked[no])
            self.say("the app asks for everything again")

    def _recover(self) -> None:
        self.deployment.recover()
        self.gateway.played["payouts recover"] += 1
        self.say(f"payouts recover: still paused {self.deployment.paused}")

    def _wipe(self) -> None:
        self.broker.wipe()
        self.deployment.wipe()
        self.gateway.played["Redis lost everything"] += 1
        self.say("Redis loses everything")

    def _jump(self) -> None:
        if self.jumps_left:
            self.jumps_left -= 1
            self.gateway.played["clock jumped"] += 1
            self.now += timedelta(seconds=(60, 3600, 90_000)[self.choices.between(0, 2)])
            self.say("the clock jumps")

    def _lose_key(self) -> None:
        """The key of one payout's account number is not there, or is there again."""
        rows = list(self.store.rows)
        if rows:
            payout_id = rows[self.choices.between(0, len(rows) - 1)]
            self.store.locked ^= {payout_id}
            self.gateway.played["a key lost or found"] += 1
            self.say(f"the key of payout {payout_id} is lost: {payout_id in self.store.locked}")

    def _settled(self) -> bool:
        if not all(map(self._known, self.asked)) or self.runs or self.broker.waiting:
            return False
        if self.gateway.underway or self.gateway.callbacks or self.deployment.paused:
            return False
        ended = all(
            row.status in FINAL
            or (self._waits_for_a_person(row) and not self.people)
            or HOME.missing(row.epay_account, row.epay_gateway)
            for row in self.store.rows.values()
        )
        unsent = [row for row in self.store.outbox if not row.sent]
        stalled = {row.payout_id for row in unsent if row.message.queue == _STALL}
        if ended and unsent and all(row.payout_id in stalled for row in unsent):
            self.stalls = False
        return ended and not unsent

    def _waits_for_a_person(self, row: PayoutState) -> bool:
        """No end by itself: EPAY has no such order, and no code is set by which it would say so.

        Or the database forgot the payout, and it was asked for anew with another amount.
        """
        if any(order.amount != row.amount for order in self.gateway.orders[row.merchant_order_no]):
            return self.invariants.went_back and row.review_reason is not None
        if (row.epay_order_no or "").startswith(SECOND):
            return True  # EPAY named a second order first: what it says of ours does not count
        return row.review_reason is not None and code_of(row.review_reason) in {
            "query_refused",
            "resend_horizon",
            "create_refused",
            "overdue",
            "no_control",
            "unanswered",
        }

    def _work(self, delivery: Delivery) -> None:
        """What a worker does with a message: run it, patiently, acknowledge late."""
        claim = f"claim-{next(self.claims)}"
        try:
            self.run(lambda: self._run_task(delivery, claim))
        except DatabaseUnavailable:
            self.broker.give_back(delivery)
        except Crash:
            return
        else:
            self.broker.ack(delivery)

    def run(self, body: Callable[[], T]) -> T:
        """See `worker.context.Patience`."""
        for _ in range(_TRIES):
            try:
                return body()
            except OperationalError as error:
                self.gateway.played[f"PostgreSQL {error.statement}"] += 1
                self.say(f"PostgreSQL: {error.statement}")
        raise DatabaseUnavailable

    def _run_task(self, delivery: Delivery, claim: str) -> None:
        kwargs = delivery.kwargs
        lease = kwargs.get("lease")
        instant = datetime.fromisoformat(lease) if lease else None
        match delivery.task:
            case "payouts.request":
                request(self.context, kwargs, claim)
            case "payouts.submit":
                submit(self.context, kwargs["payout_id"], instant, claim)
            case "payouts.query":
                query(self.context, kwargs["payout_ids"], instant)
            case "payouts.callback":
                callback(self.context, CallbackMessage.model_validate(kwargs))
            case "payouts.sweep":
                began, alone = self.now, not self.wild
                sweep(self.context)
                if alone:
                    self.invariants.after_a_sweep(began)
            case "payouts.notify":
                notify(self.context)

    def _ask_many(
        self, orders: Mapping[int, str], max_wait: timedelta
    ) -> Iterator[list[tuple[int, OrderAnswer]]]:
        del max_wait
        for payout_id, no in orders.items():
            yield [(payout_id, self.context.gateway.query(no))]

    def _publish(self, task: str, kwargs: Mapping[str, Any]) -> None:
        assert task in {TASK_SUBMIT, TASK_QUERY}
        self.pause(f"publish {task}: before")
        self.broker.publish(task, dict(kwargs))
        self.pause(f"publish {task}: after")

    def _oldest_submit(self) -> datetime | None:
        waiting = [one.kwargs["lease"] for one in self.broker.waiting if one.task == TASK_SUBMIT]
        return min(map(datetime.fromisoformat, waiting), default=None)

    def _tell(self, message: Message) -> None:
        self.pause("tell the app: before")
        if self.stalls and message.queue == _STALL:
            self.gateway.played["a queue refused"] += 1
            raise QueueRefused
        self.told.append(message)
        self.pause("tell the app: after")
