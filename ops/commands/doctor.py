"""`payouts doctor`: what is wrong with the service, and how to mend it."""

from __future__ import annotations

import json as jsons
from dataclasses import dataclass
from typing import Annotated

import redis
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.console import say
from shared import ground, vitals
from shared.clock import utcnow
from shared.database import make_engine
from shared.epay.client import EpayClient
from shared.epay.messages import NeverSent, OutcomeUnknown, Refused
from shared.settings import Settings, SettingsError, load

_HARMLESS_ORDER = "payouts-doctor-0"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    words: str


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at settings, servers, schema, clock, the last sweep and the gateway; exit 1 if ill."""
    settings = load()
    findings = [
        *_settings(settings),
        *_redis(settings),
        *_database(settings),
        *_gateway(settings),
    ]
    if json:
        rows = [{"what": one.what, "ok": one.ok, "words": one.words} for one in findings]
        say(jsons.dumps(rows, indent=2))
    else:
        for one in findings:
            say(f"{'ok  ' if one.ok else 'ILL '} {one.what}: {one.words}")
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def _settings(settings: Settings) -> list[Finding]:
    needed = ("database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key")
    try:
        settings.need(*needed)
        settings.epay()
    except SettingsError as error:
        return [Finding("settings", False, str(error))]
    found = _found("settings", ground.of_settings(settings), "complete and consistent")
    if not settings.epay_not_found_codes:
        words = (
            "EPAY_NOT_FOUND_CODES is empty: a payout whose create was not answered waits for a"
            " person (docs/protocol.md)"
        )
        found.append(Finding("settings", True, words))
    return found


def _redis(settings: Settings) -> list[Finding]:
    if not settings.redis_url:
        return []
    try:
        return _found("redis", ground.of_redis(settings.redis_url), "answers, and never evicts")
    except redis.RedisError as error:
        return [Finding("redis", False, f"does not answer at REDIS_URL ({type(error).__name__})")]


def _database(settings: Settings) -> list[Finding]:
    if not settings.database_url:
        return []
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        unsafe = ground.of_database(engine, utcnow())
        found = _found("postgresql", unsafe, "answers, schema and clock agree")
        return found if unsafe else found + _vitals(settings, engine)
    except SQLAlchemyError as error:
        words = f"does not answer at DATABASE_URL ({type(error).__name__})"
        return [Finding("postgresql", False, words)]
    finally:
        engine.dispose()


def _vitals(settings: Settings, engine: Engine) -> list[Finding]:
    vital = vitals.read(engine, utcnow())
    stale = 3 * settings.sweep_seconds + 10
    if vital.sweep_age is None:
        sweep = Finding("sweep", False, "none ever ran: are beat and a reconcile worker running?")
    elif vital.sweep_age > stale:
        words = f"the last ran {vital.sweep_age:.0f} s ago: restart beat and the reconcile workers"
        sweep = Finding("sweep", False, words)
    else:
        sweep = Finding("sweep", True, f"the last ran {vital.sweep_age:.0f} s ago")
    patience = stale + settings.epay_lease_seconds
    return [
        sweep,
        Finding(
            "oldest due payout",
            vital.oldest_due <= patience,
            f"waits for {vital.oldest_due:.0f} s" if vital.oldest_due else "none is due",
        ),
        Finding(
            "oldest message to an app",
            vital.oldest_untold <= patience,
            f"waits for {vital.oldest_untold:.0f} s" if vital.oldest_untold else "all are sent",
        ),
        Finding("review", True, f"{vital.in_review} payout(s) need a person"),
    ]


def _gateway(settings: Settings) -> list[Finding]:
    """Ask for an order that nobody made: harmless, and it shows whether we are understood."""
    try:
        config = settings.epay()
    except SettingsError:
        return []
    client = EpayClient(config)
    try:
        match client.query(_HARMLESS_ORDER):
            case NeverSent(reason) | OutcomeUnknown(reason):
                return [Finding("gateway", False, f"no answer that can be used: {reason}")]
            case Refused(code, message) if code in settings.epay_not_found_codes:
                return [Finding("gateway", True, f"understands us (code {code}: {message})")]
            case Refused(code, message):
                words = (
                    f"answers code {code}: {message}. If that means `no such order`, add the code"
                    " to EPAY_NOT_FOUND_CODES; if it means a wrong signature, check EPAY_API_KEY"
                    " and EPAY_SIGN_NESTED"
                )
                return [Finding("gateway", not settings.epay_not_found_codes, words)]
            case _:
                return [Finding("gateway", True, "understands us")]
    finally:
        client.close()


def _found(what: str, unsafe: list[str], fine: str) -> list[Finding]:
    return [Finding(what, False, words) for words in unsafe] or [Finding(what, True, fine)]
