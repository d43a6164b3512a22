"""`payouts brakes`: what keeps payouts from being sent just now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from ops.console import as_json, out, say, when
from ops.errors import unreadable
from shared.config.settings import Settings, load
from shared.domain import circuit_breaker
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage import pauses
from shared.storage.engine import make_engine
from shared.storage.pauses import Pause


def brakes(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="The pauses that were lifted too, the last 100.")
    ] = False,
) -> None:
    """Show pauses, caps, rate and breaker, and how many payouts wait to be sent."""
    settings = load().need("database_url", "redis_url")
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        found = pauses.history(engine) if history else pauses.active(engine)
        waiting = pauses.count_waiting(engine)
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    finally:
        engine.dispose()
    state = {
        "pauses": [_as_dict(pause) for pause in found],
        "waiting": waiting,
        "breaker": _breaker(settings),
        "max_per_second": settings.epay_max_per_second,
        "check_limits": settings.epay_check_limits,
        "cap_per_payout": dict(settings.cap_per_payout),
        "cap_per_day": dict(settings.cap_per_day),
    }
    if json:
        say(as_json(state))
    else:
        _print(state, found, history=history)


def _breaker(settings: Settings) -> dict[str, Any]:
    redis = RedisClient(settings.redis_url)
    try:
        text = redis.run(lambda: redis.client.get(circuit_breaker.KEY))
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


def _print(state: dict[str, Any], found: Sequence[Pause], *, history: bool) -> None:
    broken = state["breaker"]
    words = broken["state"]
    if words == "open":
        words += (
            f" since {when(broken['since'])} UTC: {broken['why']}; {broken['probes']} probe(s),"
            f" the next at {when(broken['next_probe_at'])}"
        )
    rate = state["max_per_second"]
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("waiting", f"{state['waiting']} payout(s) queued"),
        ("breaker", words),
        ("rate", "no bound" if rate is None else f"{rate:g} requests a second to EPAY"),
        ("EPAY's limits", f"checked: {state['check_limits']}"),
        ("cap per payout", _amounts(state["cap_per_payout"])),
        ("cap per 24 h", _amounts(state["cap_per_day"])),
        ("pauses", "see below" if found else "none"),
    ):
        facts.add_row(name, value)
    out.print(facts, markup=False, highlight=False)
    if not found:
        return
    lifting = ("lifted by", "lifted at (UTC)", "lifted why") if history else ()
    table = Table("paused", "by", "since (UTC)", "why", *lifting)
    for one in found:
        row = [str(one.scope), one.set_by, when(one.set_at), one.reason]
        if history:
            row += [one.lifted_by or "-", when(one.lifted_at), one.lifted_reason or "-"]
        table.add_row(*row)
    out.print(table, markup=False, highlight=False)


def _amounts(caps: dict[str, Any]) -> str:
    return ", ".join(f"{amount:f} {currency}" for currency, amount in caps.items()) or "none"


def _as_dict(pause: Pause) -> dict[str, Any]:
    values = asdict(pause)
    return {"id": values.pop("id"), **values.pop("scope"), **values}
