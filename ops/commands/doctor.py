"""`payouts doctor`: what is wrong with the service, and how to fix it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import redis
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from typer import Exit, Option

from ops.commands.options import Json, parse_duration
from ops.console import age, as_json, counted, say, when
from shared.clock import utcnow
from shared.config.accounts import account_settings
from shared.config.builders import build_accounts, build_epay_config, name_policy
from shared.config.settings import Settings, SettingsError, load
from shared.contract import (
    QUEUE_BULK,
    QUEUE_NOTIFY,
    QUEUE_PARKED,
    QUEUE_PAYOUTS,
    QUEUE_RECONCILE,
    QUEUE_SUBMIT,
)
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused
from shared.epay.client import EpayClient
from shared.messaging.owner import refuse_other_owner
from shared.observability import health, startup_checks
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine
from shared.storage.policy_record import describe_differences, policy_differences

_HARMLESS_ORDER = "payouts-doctor-0"
_BROKEN_KEY = SecretStr("payouts-doctor: wrong on purpose")
_REDIS_TIMEOUT_SECONDS = 5

_OK, _WARN, _FAIL = "ok  ", "WARN", "FAIL"
"""The first word of a line; WARN: the check passed, but an operator must know of it."""


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    words: str
    mark: str = _OK

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.mark != _FAIL


def doctor(
    json: Json = False,
    max_review_age: Annotated[
        timedelta | None,
        Option(
            parser=parse_duration,
            metavar="DURATION",
            help="FAIL if a payout has been in review for longer: 30m, 4h, 2d. Default: WARN.",
        ),
    ] = None,
) -> None:
    """Check settings, servers, queues, schema, clock, sweep, pauses and gateway.

    FAIL says what to do, and the exit code is 1; WARN is no failure, but you must know of it. The
    gateway is queried for an order that does not exist, once with a wrong signature on purpose.
    """
    settings = load()
    findings = [
        *_settings(settings),
        *_redis(settings),
        *_database(settings, max_review_age),
        *_gateway(settings),
    ]
    if json:
        say(as_json([{"what": one.what, "ok": one.ok, "words": one.words} for one in findings]))
    else:
        for one in findings:
            say(f"{one.mark} {one.what}: {one.words}")
    if not all(one.ok for one in findings):
        raise Exit(1)


def _settings(settings: Settings) -> list[Finding]:
    needed = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")
    try:
        settings.need(*needed)
        build_accounts(settings)
        for one in account_settings(settings):
            build_epay_config(one)
    except SettingsError as error:
        return [Finding("settings", str(error), _FAIL)]
    found = _found("settings", startup_checks.check_settings(settings), "complete and consistent")
    if not settings.epay_not_found_codes:
        words = (
            "EPAY_NOT_FOUND_CODES is empty: a payout whose create was not answered waits for a"
            " person (docs/protocol.md)"
        )
        found.append(Finding("settings", words, _WARN))
    if settings.epay_refused_codes and not settings.epay_duplicate_codes:
        words = (
            "EPAY_DUPLICATE_CODES is empty: if EPAY_REFUSED_CODES names the code of a number that"
            " EPAY has already, a paid payout ends rejected (docs/protocol.md)"
        )
        found.append(Finding("settings", words, _WARN))
    return found


def _redis(settings: Settings) -> list[Finding]:
    url = settings.redis_url
    if not url:
        return []
    try:
        problems = startup_checks.check_redis(url)
        with suppress(SettingsError):  # `_settings` tells it
            problems += filter(None, [refuse_other_owner(settings)])
        found = _found("redis", problems, "answers, and never evicts")
        return found + _queues(url)
    except redis.RedisError as error:
        words = f"does not answer at REDIS_URL ({type(error).__name__})"
        return [Finding("redis", words, _FAIL)]


def _queues(url: str) -> list[Finding]:
    seconds = _REDIS_TIMEOUT_SECONDS
    with redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds
    ) as client:
        names = (QUEUE_SUBMIT, QUEUE_PAYOUTS, QUEUE_BULK, QUEUE_RECONCILE, QUEUE_NOTIFY)
        waiting = ", ".join(f"{name} {int(client.llen(name))}" for name in names)
        parked = int(client.llen(QUEUE_PARKED))
    words = (
        f"{parked} could not be processed, and wait on {QUEUE_PARKED}: the workers' log has the"
        " reason, docs/operations.md says what to do"
    )
    return [
        Finding("messages waiting", waiting),
        *_found("parked messages", [words] if parked else [], "none"),
    ]


def _database(settings: Settings, max_review_age: timedelta | None) -> list[Finding]:
    if not settings.database_url:
        return []
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        unsafe = startup_checks.check_database(engine, utcnow())
        fine = f"answers, schema ({migrate.current(engine)}) and clock agree"
        found = _found("postgresql", unsafe, fine)
        if unsafe:
            return found
        notes = [Finding("postgresql", one, _WARN) for one in startup_checks.note_database(engine)]
        accounts = _accounts(settings, engine)
        health = _health(settings, engine, max_review_age)
        return found + notes + accounts + health + _pauses(engine) + _policy(settings, engine)
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", words, _FAIL)]
    finally:
        engine.dispose()


def _accounts(settings: Settings, engine: Engine) -> list[Finding]:
    if not (settings.epay_account or settings.epay_accounts_file):
        return []
    try:
        waiting = startup_checks.unconfigured_accounts(engine, build_accounts(settings))
    except SettingsError:  # `_settings` tells it
        return []
    return _found("accounts", waiting, "every open payout belongs to a configured account")


def _health(settings: Settings, engine: Engine, max_review_age: timedelta | None) -> list[Finding]:
    snapshot = health.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if snapshot.sweep_age is None:
        sweep = Finding("sweep", "never ran: are beat and a reconcile worker running?", _FAIL)
    elif snapshot.clock_problems():
        sweep = Finding("sweep", " ".join(snapshot.clock_problems()), _FAIL)
    elif snapshot.sweep_age > stale:
        words = f"last ran {snapshot.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", words, _FAIL)
    else:
        sweep = Finding("sweep", f"last ran {snapshot.sweep_age:.0f} s ago")
    limit = stale + settings.epay_lease_seconds
    due, untold = snapshot.oldest_due, snapshot.oldest_untold
    return [
        sweep,
        _wait("oldest due payout", due, limit, "payouts and payouts.reconcile", "none is due"),
        _wait("oldest message to an app", untold, limit, "payouts.notify", "all are sent"),
        *(_queues_of_apps(settings.redis_url, engine, limit) if untold else []),
        _review(snapshot, max_review_age),
        _oldest_open(snapshot.oldest_open, settings.epay_review_after),
    ]


def _review(snapshot: health.HealthSnapshot, max_age: timedelta | None) -> Finding:
    if not snapshot.in_review:
        return Finding("review", "no payout is in review")
    payouts = counted(snapshot.in_review, "payout")
    words = f"{payouts} in review, the oldest for {age(snapshot.oldest_review)}"
    if max_age is not None and snapshot.oldest_review > max_age.total_seconds():
        limit = age(max_age.total_seconds())
        return Finding("review", f"{words}, longer than {limit}: see `payouts review`", _FAIL)
    return Finding("review", f"{words}: see `payouts review`", _WARN)


def _oldest_open(ages: Mapping[str, float], review_after: float) -> Finding:
    """Law 16: the oldest payout without an end, for each status."""
    if not ages:
        return Finding("oldest open payouts", "every payout has a final status")
    words = ", ".join(f"{status} {age(seconds)}" for status, seconds in ages.items())
    if max(ages.values()) <= review_after:
        return Finding("oldest open payouts", words)
    return Finding("oldest open payouts", f"{words}: see `payouts review`", _WARN)


def _queues_of_apps(url: str, engine: Engine, limit: float) -> list[Finding]:
    """Name each app's queue whose messages wait: Redis refuses it, or nobody sends."""
    found = []
    with redis.Redis.from_url(url, socket_timeout=_REDIS_TIMEOUT_SECONDS) as client:
        for queue, count, seconds in health.unsent_queues(engine):
            kind = client.type(queue).decode()
            words = f"{counted(count, 'message')} for an app, the oldest for {seconds:.0f} s"
            if kind not in {"none", "list"}:
                words += f": Redis refuses them, the key {queue} is a {kind} and not a list"
            elif seconds > limit:
                words += f": does Redis take messages for {queue}? The workers' log has the error"
            else:
                continue
            found.append(Finding(f"queue {queue}", words, _FAIL))
    return found


def _wait(what: str, seconds: float, limit: float, queues: str, nothing: str) -> Finding:
    if not seconds:
        return Finding(what, nothing)
    words = f"waits for {seconds:.0f} s"
    if seconds <= limit:
        return Finding(what, words)
    hint = f"are there enough workers for {queues}, and is beat running?"
    return Finding(what, f"{words}: {hint}", _FAIL)


def _pauses(engine: Engine) -> list[Finding]:
    return [
        Finding(
            "pauses",
            f"{pause.scope}: nothing new is sent since {when(pause.set_at)} UTC, by"
            f" {pause.set_by} ({pause.reason}); `payouts {'recover' if pause.code else 'resume'}`"
            " lifts it",
            _WARN,
        )
        for pause in pauses.active(engine)
    ] or [Finding("pauses", "none")]


def _policy(settings: Settings, engine: Engine) -> list[Finding]:
    try:
        differing = policy_differences(engine, name_policy(settings))
    except SettingsError:  # `_settings` tells it
        return []
    words = f"{describe_differences(differing)}: `payouts resolve` is refused with these"
    return [Finding("policy", words, _WARN)] if differing else []


def _gateway(settings: Settings) -> list[Finding]:
    """Query an order that does not exist, then once more with a signature that must be wrong.

    Harmless. If EPAY's answers differ, it accepted the first signature: the key is proven.
    """
    try:
        every = account_settings(settings)
    except SettingsError:
        return []
    return [found for one in every for found in _gateway_of(one, several=len(every) > 1)]


def _gateway_of(settings: Settings, *, several: bool) -> list[Finding]:
    what = f"gateway of {settings.epay_account}" if several else "gateway"
    try:
        answer, broken = _ask(settings), _ask(settings, api_key=_BROKEN_KEY)
    except SettingsError:
        return []
    match answer:
        case NeverSent(reason) | OutcomeUnknown(reason):
            return [Finding(what, f"no usable answer: {reason}", _FAIL)]
        case Refused(code, message) if answer == broken:
            words = (
                f"answers code {code} ({message}) to our signature and to one that is wrong on"
                " purpose: EPAY_API_KEY or EPAY_ACCOUNT is wrong. Do not add this code to"
                " EPAY_NOT_FOUND_CODES"
            )
            return [Finding(what, words, _FAIL)]
    return [_proven(what, settings, answer), *_wrong_signature(what, settings, broken)]


def _ask(settings: Settings, **changes: Any) -> OrderAnswer:
    client = EpayClient(replace(build_epay_config(settings), **changes))
    try:
        return client.query(_HARMLESS_ORDER)
    finally:
        client.close()


def _proven(what: str, settings: Settings, answer: OrderAnswer) -> Finding:
    """The key is right; what the code of the answer means is known or not."""
    words = "answers, authentication OK: a wrong signature gets another answer"
    if not isinstance(answer, Refused):
        return Finding(what, words)
    words += f". It has code {answer.code}: {answer.message}"
    if answer.code in settings.epay_not_found_codes:
        words += (
            ". A query holds no nested value: the first payout shows whether"
            f" EPAY_SIGN_NESTED={settings.epay_sign_nested} is right"
        )
        return Finding(what, words)
    words += ". If that means `no such order`, add the code to EPAY_NOT_FOUND_CODES"
    return Finding(what, words, _FAIL if settings.epay_not_found_codes else _WARN)


def _wrong_signature(what: str, settings: Settings, broken: OrderAnswer) -> list[Finding]:
    """A wrong signature must not be answered with a code that judges payouts."""
    if not isinstance(broken, Refused):
        return []
    words = f"a wrong signature gets code {broken.code}, which is in "
    if broken.code in settings.epay_refused_codes:
        words += "EPAY_REFUSED_CODES: remove it, or a wrong key ends payouts as rejected"
        return [Finding(what, words, _FAIL)]
    if broken.code in settings.epay_duplicate_codes:
        return [Finding(what, f"{words}EPAY_DUPLICATE_CODES: remove it", _FAIL)]
    if broken.code in settings.epay_not_found_codes:
        words += "EPAY_NOT_FOUND_CODES: only law 12 tells a wrong key from an unknown order"
        return [Finding(what, words, _WARN)]
    return []


def _found(what: str, unsafe: Sequence[str], fine: str) -> list[Finding]:
    return [Finding(what, words, _FAIL) for words in unsafe] or [Finding(what, fine)]
