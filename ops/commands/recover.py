"""`payouts recover`: after the database was restored or replaced, ask EPAY and go on (law 11)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from sqlalchemy import Engine
from typer import Exit

from ops.commands.options import Name, Reason, parse_line
from ops.connections import database
from ops.console import counted, note, progress, say, when
from ops.daily_reconciliation.compare_day import Pace
from ops.errors import UserError
from ops.gateway import gateway, require_policy_of_workers
from ops.recovery import Findings, Recovery
from shared.clock import utcnow
from shared.config.accounts import account_settings
from shared.config.builders import build_account, build_accounts, build_cipher, build_policy
from shared.config.settings import Settings, load
from shared.domain.accounts import ConfiguredAccount, ConfiguredAccounts
from shared.domain.gateway import OrderAnswer
from shared.epay.client import EpayClient
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
from shared.storage.deployment import Deployment
from shared.storage.pauses import DATABASE_CHANGED, NOTICED_WITHIN, Scope
from shared.storage.payout_store import PayoutStore

_SHOWN = 20
_PAGE = 500

Clients = Mapping[ConfiguredAccount, tuple[Settings, EpayClient]]


def recover(name: Name, reason: Reason) -> None:
    """Ask EPAY about all payouts that are not final, then lift the pause `database_changed`.

    For after a restore, a failover or a move of the database. Until one resend horizon is over,
    an order that EPAY was not asked about is then asked about before it is sent. You can interrupt
    this command and run it again: sending stays paused until it has run to its end, and until EPAY
    has answered about each payout that could be sent.
    """
    by, why = parse_line("--name", name), parse_line("--reason", reason)
    settings = load().need(
        "database_url", "redis_url", "epay_base_url", "epay_account", "epay_api_key"
    )
    redis = RedisClient(settings.redis_url)
    try:
        with ExitStack() as stack:
            clients = {
                build_account(one): (one, stack.enter_context(gateway(one)))
                for one in account_settings(settings)
            }
            engine = stack.enter_context(database(settings))
            _recover(settings, clients, engine, DeploymentMarks(redis), f"{by}: {why}")
    except RedisUnavailable as error:
        raise UserError("Redis does not answer at REDIS_URL: sending stays paused") from error
    finally:
        redis.close()


def _recover(
    settings: Settings, clients: Clients, engine: Engine, marks: DeploymentMarks, why: str
) -> None:
    known = marks.read()
    if (problem := other_owner(owner_of(settings), known)) is not None:
        raise UserError(problem)
    require_policy_of_workers(settings, engine, "recover is refused")
    _say_difference(deployment.find(engine), known)
    deployment.pause_sending(engine, f"payouts recover, {why}", utcnow())
    deployment.pin(engine)
    time.sleep(NOTICED_WITHIN.total_seconds() * 1.2)
    _ask_all(settings, clients, engine)
    policy = build_policy(settings)
    until = utcnow() + policy.resend_horizon
    with engine.begin() as connection:
        mark = int(known.get(HIGH_WATER, 0))
        made = deployment.repin(connection, mark, until)
        pauses.lift_all(connection, "payouts recover", why, utcnow(), DATABASE_CHANGED)
        rebuild = {} if known else {REBUILD_BELOW: REBUILD_ALL}
        marks.write(owner_of(settings, made.token) | {HIGH_WATER: str(made.high_water)} | rebuild)
    time.sleep(NOTICED_WITHIN.total_seconds() * 1.2)
    pauses.wake_waiting(engine, Scope(), utcnow())
    say(
        f"Sending goes on. Until {when(until)} UTC an order that EPAY was not asked about since now"
        " is `unknown` and asked about before it is sent."
    )
    if not all(one.epay_not_found_codes for one, _ in clients.values()):
        note("EPAY_NOT_FOUND_CODES is empty: each of these then waits for a person.")
    for standing in pauses.active(engine):
        say(f"Still in force: a pause of {standing.scope}, set by {standing.set_by}.")


def _say_difference(found: Deployment | None, known: dict[str, str]) -> None:
    if found is None:
        say("Database: has no record of this deployment; it is another one, or an old backup.")
    else:
        say(f"Database: {found.difference or 'is the one that its own record names'}.")
    if not known:
        say("Redis: was emptied; it remembers no send.")
        return
    if found is None or known.get("database") != found.token:
        say("Redis: was used with another database.")
    counted_here = 0 if found is None else found.high_water
    say(f"Redis remembers sweep {known.get(HIGH_WATER, 0)}, the database {counted_here}.")


def _ask_all(settings: Settings, clients: Clients, engine: Engine) -> None:
    """Ask EPAY about every payout that is not final.

    Raises:
        UserError: EPAY gave no answer that counts about a payout that could be sent.
    """
    count, newest = deployment.count_open(engine)
    say(f"The newest event in the database is of {when(newest)} UTC.")
    found, accounts = Findings(), build_accounts(settings)
    pace, at_once = Pace(settings.epay_max_per_second), settings.epay_query_batch

    def ask_one(epay: EpayClient, order_no: str) -> OrderAnswer:
        pace.wait()
        return epay.query(order_no)

    with ThreadPoolExecutor(at_once, "query") as pool:
        store = PayoutStore(engine, build_cipher(settings))
        recoveries = {
            home: Recovery(
                store,
                home,
                partial(pool.map, partial(ask_one, epay)),
                build_policy(own, accounts),
                found,
            )
            for home, (own, epay) in clients.items()
        }
        waves = _waves(engine, accounts, at_once, found)
        try:
            for home, orders in progress(waves, "asking EPAY", -(-count // at_once)):
                if problem := recoveries[home].ask(orders):
                    raise UserError(f"{problem}: sending stays paused. Run the command again.")
        except KeyboardInterrupt:
            say("Interrupted: sending stays paused. Run the command again; it begins anew.")
            raise Exit(1) from None
        finally:
            _say_findings(found)
    if found.undecided:
        raise UserError(
            f"{counted(found.undecided, 'payout')} could be sent, and EPAY gave no answer that"
            " counts: sending stays paused. Run the command again."
        )


def _waves(
    engine: Engine, accounts: ConfiguredAccounts, at_once: int, found: Findings
) -> Iterator[tuple[ConfiguredAccount, dict[int, str]]]:
    """The payouts that are not final, of one account at a time; those of no account are noted."""
    last_id = 0
    while page := deployment.open_payouts(engine, last_id, _PAGE):
        last_id = page[-1].id
        orders: defaultdict[ConfiguredAccount, list[tuple[int, str]]] = defaultdict(list)
        for one in page:
            home = accounts.find(one.epay_account, one.epay_gateway)
            if home is None:
                reason = accounts.missing(one.epay_account, one.epay_gateway) or ""
                found.elsewhere[reason].append(one.merchant_order_no)
            else:
                orders[home].append((one.id, one.merchant_order_no))
        for home, numbers in orders.items():
            for start in range(0, len(numbers), at_once):
                yield home, dict(numbers[start : start + at_once])


def _say_findings(found: Findings) -> None:
    say(f"Asked EPAY about {counted(found.asked, 'payout')}:")
    for (before, after), count in sorted(found.moved.items()):
        change = f"{before}, now {after}" if before is not after else f"{before}, and still"
        say(f"  {count} that EPAY has: {change}")
    for (status, words), count in sorted(found.not_moved.items()):
        say(f"  {count} {status}: {words}")
    if found.lost:
        say(f"Sent before, and forgotten by this database: {_listed(found.lost)}")
    for reason, order_nos in sorted(found.elsewhere.items()):
        say(f"Not asked about, for {reason}: {_listed(order_nos)}")


def _listed(order_nos: list[str]) -> str:
    more = len(order_nos) - _SHOWN
    return ", ".join(order_nos[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
