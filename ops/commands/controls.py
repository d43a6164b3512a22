"""`payouts controls`: everything that keeps payouts from being sent at the moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import Engine
from typer import Option

from ops.commands.options import Json
from ops.connections import database
from ops.console import as_json, counted, note, print_facts, say, when
from shared.config.builders import build_accounts, name_policy
from shared.config.settings import Settings, SettingsError, load
from shared.domain import circuit_breaker
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage import pauses
from shared.storage.pauses import Pause
from shared.storage.policy_record import describe_differences, policy_differences


def controls(
    json: Json = False,
    history: Annotated[
        bool, Option("--history", help="Show lifted pauses too, the last 100.")
    ] = False,
) -> None:
    """Show pauses, caps, rate limit and circuit breaker, and how many payouts are queued."""
    settings = load().need("redis_url")
    with database(settings) as engine:
        found = pauses.history(engine) if history else pauses.active(engine)
        waiting = pauses.count_waiting(engine)
        _compare_policy(settings, engine)
    breakers = _breakers(settings)
    if json:
        say(as_json(_as_dict(settings, found, waiting, breakers)))
        return
    print_facts(_facts(settings, waiting, breakers))
    if not found:
        say("No pause is in force.")
    for pause in found:
        _print(pause)


def _compare_policy(settings: Settings, engine: Engine) -> None:
    try:
        differing = policy_differences(engine, name_policy(settings))
    except SettingsError as error:
        note(f"The settings of this shell are not those of the workers: {error}")
        return
    if differing:
        note(f"These are the settings of this shell: {describe_differences(differing)}.")


def _breakers(settings: Settings) -> dict[str, dict[str, Any]]:
    """By the gateway; that of the default account has no name and comes first."""
    keys = {"": circuit_breaker.KEY}
    with suppress(SettingsError):  # `_compare_policy` tells it
        others = sorted(set(build_accounts(settings).other_gateways.values()))
        keys |= {gateway: circuit_breaker.breaker_key(gateway) for gateway in others}
    return {gateway: _breaker(settings, key) for gateway, key in keys.items()}


def _breaker(settings: Settings, key: str) -> dict[str, Any]:
    redis = RedisClient(settings.redis_url)
    try:
        text = redis.run(lambda: redis.client.get(key))
    except RedisUnavailable:
        return {"state": "not known: Redis does not answer at REDIS_URL"}
    finally:
        redis.close()
    opening = circuit_breaker.deserialize(str(text) if text else None)
    if opening is None:
        return {"state": "closed"}
    return {
        "state": "open",
        "why": opening.reason,
        "since": datetime.fromtimestamp(opening.since, UTC),
        "next_probe_at": datetime.fromtimestamp(opening.retry_at, UTC),
        "pause_seconds": opening.pause,
        "probes": opening.probes,
    }


def _as_dict(
    settings: Settings, found: Sequence[Pause], waiting: int, breakers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    breaker = breakers.pop("")
    return {
        "pauses": [_pause_as_dict(pause) for pause in found],
        "waiting": waiting,
        "breaker": breaker,
        "breakers_of_other_gateways": breakers,
        "max_per_second": settings.epay_max_per_second,
        "check_limits": settings.epay_check_limits,
        "cap_per_payout": dict(settings.cap_per_payout),
        "cap_per_day": dict(settings.cap_per_day),
    }


def _pause_as_dict(pause: Pause) -> dict[str, Any]:
    values = asdict(pause)
    return {"id": values.pop("id"), **values.pop("scope"), **values}


def _facts(
    settings: Settings, waiting: int, breakers: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    yield "waiting", f"{counted(waiting, 'payout')} queued"
    for gateway, breaker in breakers.items():
        state = breaker["state"]
        if state == "open":
            state += (
                f" since {when(breaker['since'])} UTC: {breaker['why']};"
                f" {counted(breaker['probes'], 'probe')},"
                f" the next at {when(breaker['next_probe_at'])}"
            )
        yield "circuit breaker", f"{gateway}: {state}" if gateway else state
    rate = settings.epay_max_per_second
    yield "rate limit", "unlimited" if rate is None else f"{rate:g} requests a second to EPAY"
    yield "EPAY's limits", f"checked: {settings.epay_check_limits}"
    yield "cap per payout", _amounts(settings.cap_per_payout)
    yield "cap per 24 h", _amounts(settings.cap_per_day)


def _amounts(caps: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{amount:f} {currency}" for currency, amount in caps.items()) or "none"


def _print(pause: Pause) -> None:
    say(f"paused: {pause.scope}")
    say(f"  since {when(pause.set_at)} UTC by {pause.set_by}: {pause.reason}")
    if pause.lifted_at is not None:
        lifted = f"{when(pause.lifted_at)} UTC by {pause.lifted_by}: {pause.lifted_reason}"
        say(f"  lifted {lifted}")
