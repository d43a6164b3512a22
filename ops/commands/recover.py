"""`payouts recover`: after the database was restored or replaced, ask EPAY and go on (law 11)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from typer import Exit

from ops.commands.options import Name, Reason
from ops.connections import database
from ops.console import counted, note, progress, say, when
from ops.daily_reconciliation.compare_day import Pace
from ops.errors import UserError
from ops.gateway import gateway
from ops.recovery import Findings, Recovery
from shared.clock import utcnow
from shared.config.builders import build_cipher, build_policy
from shared.config.settings import Settings, load
from shared.domain.gateway import OrderAnswer
from shared.messaging.owner import (
    HIGH_WATER,
    REBUILD_ALL,
    REBUILD_BELOW,
    DeploymentMarks,
    other_owner,
    owner_of,
)
from shared.redis_client import RedisClient, RedisUnavailable
from shared.storage import deployment, pauses
from shared.storage.pauses import DATABASE_CHANGED, NOTICED_WITHIN, Scope
from shared.storage.payout_store import PayoutStore

_SHOWN = 20


def recover(name: Name, reason: Reason) -> None:
    """Ask EPAY about all payouts that are not final, then lift the pause `database_changed`.

    For after a restore, a failover or a move of the database. Until one resend horizon is over,
    an order that EPAY was not asked about is then asked about before it is sent. You can interrupt
    this command and run it again: sending stays paused until it has run to its end.
    """
    settings = load().need(
        "database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key"
    )
    redis = RedisClient(settings.redis_url)
    try:
        with database(settings) as engine:
            _recover(settings, engine, DeploymentMarks(redis), f"{name}: {reason}")
    except RedisUnavailable as error:
        raise UserError("Redis does not answer at REDIS_URL: sending stays paused") from error
    finally:
        redis.close()


def _recover(settings: Settings, engine: Engine, marks: DeploymentMarks, why: str) -> None:
    known = marks.read()
    if (problem := other_owner(owner_of(settings), known)) is not None:
        raise UserError(problem)
    found = deployment.pin(engine)
    _say_difference(found, known)
    pause = deployment.pause_sending(engine, f"payouts recover, {why}", utcnow())
    time.sleep(NOTICED_WITHIN.total_seconds() * 1.2)
    findings = _ask_all(settings, engine)
    policy = build_policy(settings)
    until = utcnow() + policy.resend_horizon
    with engine.begin() as connection:
        mark = int(known.get(HIGH_WATER, 0))
        made = deployment.repin(connection, mark, until)
        pauses.lift(
            connection, pause.scope, "payouts recover", why, utcnow(), code=DATABASE_CHANGED
        )
        rebuild = {} if known else {REBUILD_BELOW: REBUILD_ALL}
        marks.write(owner_of(settings, made.token) | {HIGH_WATER: str(made.high_water)} | rebuild)
    _say_findings(findings)
    time.sleep(NOTICED_WITHIN.total_seconds() * 1.2)
    pauses.wake_waiting(engine, Scope(), utcnow())
    say(
        f"Sending goes on. Until {when(until)} UTC an order that EPAY was not asked about since now"
        " is `unknown` and asked about before it is sent."
    )
    if not policy.not_found_codes:
        note("EPAY_NOT_FOUND_CODES is empty: each of these then waits for a person.")
    for standing in pauses.active(engine):
        say(f"Still in force: a pause of {standing.scope}, set by {standing.set_by}.")


def _say_difference(found: deployment.Deployment, known: dict[str, str]) -> None:
    say(f"Database: {found.difference or 'is the one that its own record names'}.")
    if not known:
        say("Redis: was emptied; it remembers no send.")
        return
    if known.get("database") != found.token:
        say("Redis: was used with another database.")
    say(f"Redis remembers sweep {known.get(HIGH_WATER, 0)}, the database {found.high_water}.")


def _ask_all(settings: Settings, engine: Engine) -> Findings:
    account = settings.epay_account
    there = deployment.count_open(engine, account)
    say(f"The newest change in the database is of {when(there.newest)} UTC.")
    if there.others:
        note(f"Not asked about: {counted(there.others, 'payout')} of other EPAY accounts.")
    pace, at_once = Pace(settings.epay_max_per_second), settings.epay_query_batch
    with gateway(settings) as epay, ThreadPoolExecutor(at_once, "query") as pool:

        def ask_one(order_no: str) -> OrderAnswer:
            pace.wait()
            return epay.query(order_no)

        recovery = Recovery(
            PayoutStore(engine, build_cipher(settings)),
            lambda order_nos: pool.map(ask_one, order_nos),
            build_policy(settings),
        )
        try:
            _ask_pages(recovery, _pages(engine, account, at_once), -(-there.own // at_once))
        except KeyboardInterrupt:
            _say_findings(recovery.findings)
            say("Interrupted: sending stays paused. Run the command again; it begins anew.")
            raise Exit(1) from None
    return recovery.findings


def _pages(engine: Engine, account: str, limit: int) -> Iterator[dict[int, str]]:
    last_id = 0
    while orders := deployment.open_orders(engine, account, last_id, limit):
        last_id = max(orders)
        yield orders


def _ask_pages(recovery: Recovery, pages: Iterable[dict[int, str]], total: int) -> None:
    for orders in progress(pages, "asking EPAY", total):
        if not recovery.ask(orders):
            _say_findings(recovery.findings)
            raise UserError("EPAY does not answer: sending stays paused. Run the command again.")


def _say_findings(found: Findings) -> None:
    say(f"Asked EPAY about {counted(found.asked, 'payout')}:")
    for (before, after), count in sorted(found.moved.items()):
        change = f"{before}, now {after}" if before is not after else f"{before}, and still"
        say(f"  {count} that EPAY has: {change}")
    for status, count in sorted(found.absent.items()):
        say(f"  {count} {status}: EPAY does not show it")
    if found.unanswered:
        say(f"  {found.unanswered} without an answer")
    if found.lost:
        more = len(found.lost) - _SHOWN
        listed = ", ".join(found.lost[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        say(f"Sent before, and forgotten by this database: {listed}")
