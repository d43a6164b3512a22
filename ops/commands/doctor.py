"""`payouts doctor`: what is wrong with the service, and how to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from typer import Exit, Option

from ops.commands.options import Json, parse_duration
from ops.connections import token_of
from ops.console import age, as_json, counted, say, when
from ops.finding import FAIL, WARN, Finding, findings
from ops.gateway_check import check_gateways
from ops.wording.pauses import how_to_lift
from shared.clock import utcnow
from shared.config.accounts import account_settings
from shared.config.builders import (
    build_account,
    build_accounts,
    build_cipher,
    build_epay_config,
    name_policy,
)
from shared.config.settings import Settings, SettingsError, load
from shared.contract import (
    QUEUE_BULK,
    QUEUE_NOTIFY,
    QUEUE_PARKED,
    QUEUE_PAYOUTS,
    QUEUE_RECONCILE,
    QUEUE_SUBMIT,
)
from shared.domain.payout import PayoutState
from shared.messaging.owner import refuse_other_owner
from shared.observability import health, startup_checks
from shared.redis_client import RedisClient
from shared.storage import migrate, pauses
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import describe_differences, policy_differences

_WORKING = f"{QUEUE_SUBMIT}, {QUEUE_PAYOUTS} and {QUEUE_RECONCILE}"


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
    gateway is queried for an order that does not exist, once more with a wrong signature on
    purpose, and for the newest payout that it ended.
    """
    settings = load()
    found = _settings(settings)
    engine = make_engine(settings.database_url, pool_size=1) if settings.database_url else None
    try:
        of_database = [] if engine is None else _database(settings, engine, max_review_age)
        usable = engine if all(one.ok for one in of_database if one.what == "postgresql") else None
        found += [
            *_redis(settings, usable),
            *of_database,
            *check_gateways(settings, lambda own: _control(own, usable)),
        ]
    finally:
        if engine is not None:
            engine.dispose()
    if json:
        say(as_json([one._asdict() | {"ok": one.ok} for one in found]))
    else:
        for one in found:
            say(f"{one.mark:4} {one.what}: {one.words}")
    if not all(one.ok for one in found):
        raise Exit(1)


def _settings(settings: Settings) -> list[Finding]:
    needed = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")
    try:
        settings.need(*needed)
        build_accounts(settings)
        build_cipher(settings)
        every = account_settings(settings)
        for one in every:
            build_epay_config(one)
    except SettingsError as error:
        return [Finding("settings", str(error), FAIL)]
    found = findings("settings", startup_checks.check_settings(settings), "complete and consistent")
    for one in every:
        what = f"settings of {one.epay_account}" if len(every) > 1 else "settings"
        found += [Finding(what, words, WARN) for words in _missing_codes(one)]
    return found


def _missing_codes(settings: Settings) -> list[str]:
    found = []
    if not settings.epay_not_found_codes:
        found.append(
            "EPAY_NOT_FOUND_CODES is empty: a payout whose create was not answered waits for a"
            " person (docs/protocol.md)"
        )
    if settings.epay_refused_codes and not settings.epay_duplicate_codes:
        found.append(
            "EPAY_DUPLICATE_CODES is empty: if EPAY_REFUSED_CODES names the code of a number that"
            " EPAY has already, a paid payout ends rejected (docs/protocol.md)"
        )
    return found


def _redis(settings: Settings, engine: Engine | None) -> list[Finding]:
    if not settings.redis_url:
        return []
    client = RedisClient(settings.redis_url)
    try:
        problems = startup_checks.check_redis(settings.redis_url)
        try:
            other = refuse_other_owner(settings, token_of(engine))
        except SettingsError:  # `_settings` tells it
            other = None
        found = findings(
            "redis", problems + ([other] if other else []), "answers, and never evicts"
        )
        return found + _queues(client.client)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        words = f"does not answer at REDIS_URL ({type(error).__name__})"
        return [Finding("redis", words, FAIL)]
    except redis.RedisError as error:
        return [Finding("redis", f"refuses a command: {error}", FAIL)]
    finally:
        client.close()


def _queues(client: redis.Redis) -> list[Finding]:
    names = (QUEUE_SUBMIT, QUEUE_PAYOUTS, QUEUE_BULK, QUEUE_RECONCILE, QUEUE_NOTIFY)
    waiting = ", ".join(f"{name} {int(client.llen(name))}" for name in names)
    parked = int(client.llen(QUEUE_PARKED))
    words = (
        f"{parked} could not be processed, and wait on {QUEUE_PARKED}: the workers' log has the"
        " reason, docs/operations.md says what to do"
    )
    return [
        Finding("messages waiting", waiting),
        *findings("parked messages", [words] if parked else [], "none"),
    ]


def _database(
    settings: Settings, engine: Engine, max_review_age: timedelta | None
) -> list[Finding]:
    try:
        unsafe = startup_checks.check_database(engine, utcnow())
        fine = f"answers, schema ({migrate.current(engine)}) and clock agree"
        found = findings("postgresql", unsafe, fine)
        if unsafe:
            return found
        notes = [Finding("postgresql", one, WARN) for one in startup_checks.note_database(engine)]
        accounts = _accounts(settings, engine)
        health = _health(settings, engine, max_review_age)
        return found + notes + accounts + health + _pauses(engine) + _policy(settings, engine)
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", words, FAIL)]


def _control(settings: Settings, engine: Engine | None) -> PayoutState | None:
    """The newest payout of the account that EPAY ended: it must know that one (law 12)."""
    if engine is None:
        return None
    sent_before = utcnow() - timedelta(seconds=settings.epay_settle_seconds)
    try:
        store = PayoutStore(engine, build_cipher(settings))
        return store.newest_ended(build_account(settings), sent_before)
    except (SettingsError, SQLAlchemyError):
        return None


def _accounts(settings: Settings, engine: Engine) -> list[Finding]:
    if not (settings.epay_account or settings.epay_accounts_file):
        return []
    try:
        waiting = startup_checks.unconfigured_accounts(engine, build_accounts(settings))
    except SettingsError:  # `_settings` tells it
        return []
    return findings("accounts", waiting, "every open payout belongs to a configured account")


def _health(settings: Settings, engine: Engine, max_review_age: timedelta | None) -> list[Finding]:
    snapshot = health.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if snapshot.sweep_age is None:
        sweep = Finding("sweep", "never ran: are beat and a reconcile worker running?", FAIL)
    elif snapshot.clock_problems():
        sweep = Finding("sweep", " ".join(snapshot.clock_problems()), FAIL)
    elif snapshot.sweep_age > stale:
        words = f"last ran {snapshot.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", words, FAIL)
    else:
        sweep = Finding("sweep", f"last ran {snapshot.sweep_age:.0f} s ago")
    limit = stale + settings.epay_lease_seconds
    due, unsent = snapshot.oldest_due, snapshot.oldest_unsent
    return [
        sweep,
        _wait("oldest due payout", due, limit, _WORKING, "none is due"),
        _wait("oldest message to an app", unsent, limit, QUEUE_NOTIFY, "all are sent"),
        *(_queues_of_apps(settings.redis_url, engine, limit) if unsent else []),
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
        return Finding("review", f"{words}, longer than {limit}: see `payouts review`", FAIL)
    return Finding("review", f"{words}: see `payouts review`", WARN)


def _oldest_open(ages: Mapping[str, float], review_after: float) -> Finding:
    """Law 16: the oldest payout without an end, for each status."""
    if not ages:
        return Finding("oldest open payouts", "every payout has a final status")
    words = ", ".join(f"{status} {age(seconds)}" for status, seconds in ages.items())
    if max(ages.values()) <= review_after:
        return Finding("oldest open payouts", words)
    return Finding("oldest open payouts", f"{words}: see `payouts review`", WARN)


def _queues_of_apps(url: str, engine: Engine, limit: float) -> list[Finding]:
    """Name each app's queue whose messages wait: Redis refuses it, or nobody sends."""
    client, found = RedisClient(url), []
    try:
        for queue, count, seconds in health.unsent_queues(engine):
            kind = str(client.client.type(queue))
            words = f"{counted(count, 'message')} for an app, the oldest for {seconds:.0f} s"
            if kind not in {"none", "list"}:
                words += f": Redis refuses them, the key {queue} is a {kind} and not a list"
            elif seconds > limit:
                words += f": does Redis take messages for {queue}? The workers' log has the error"
            else:
                continue
            found.append(Finding(f"queue {queue}", words, FAIL))
    except redis.RedisError:  # `_redis` tells it
        return []
    finally:
        client.close()
    return found


def _wait(what: str, seconds: float, limit: float, queues: str, nothing: str) -> Finding:
    if not seconds:
        return Finding(what, nothing)
    words = f"waits for {seconds:.0f} s"
    if seconds <= limit:
        return Finding(what, words)
    hint = f"are there enough workers for {queues}, and is beat running?"
    return Finding(what, f"{words}: {hint}", FAIL)


def _pauses(engine: Engine) -> list[Finding]:
    return [
        Finding(
            "pauses",
            f"{pause.scope}: nothing new is sent since {when(pause.set_at)} UTC, by"
            f" {pause.set_by} ({pause.reason}); {how_to_lift(pause)}",
            WARN,
        )
        for pause in pauses.active(engine)
    ] or [Finding("pauses", "none")]


def _policy(settings: Settings, engine: Engine) -> list[Finding]:
    try:
        differing = policy_differences(engine, name_policy(settings))
    except SettingsError:  # `_settings` tells it
        return []
    words = f"{describe_differences(differing)}: `payouts resolve` is refused with these"
    return [Finding("policy", words, WARN)] if differing else []
