"""`payouts recover` lifts the pause only by answers that count, of every account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.server import Gateway
from sandbox.settings import SandboxConfig
from shared.config.builders import name_policy
from shared.config.settings import Settings
from shared.domain.accounts import gateway_of
from shared.redis_client import RedisClient
from shared.storage import deployment, pauses
from shared.storage.pauses import DATABASE_CHANGED
from shared.storage.policy_record import record_policy
from tests.integration.conftest import ACCOUNT, API_KEY, NOT_FOUND, World
from tests.support.deployment import Watched, owner
from tests.support.jobs import kinds, put_control, put_queued, put_submitting, put_unknown
from worker.deployment import DatabaseWatch

WHO = ("--name", "Ann", "--reason", "restored the dump")


@pytest.fixture
def worker(world: World, redis_url: str) -> Iterator[Watched]:
    client = RedisClient(redis_url)
    found = Watched(world, DatabaseWatch(world.engine, client, owner), client)
    assert found.watch.start() is None
    yield found
    client.close()


@pytest.fixture
def env(worker: Watched, database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_BASE_URL": worker.world.gateway.base_url,
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
        "EPAY_NOT_FOUND_CODES": NOT_FOUND,
        "EPAY_SETTLE_SECONDS": "120",
        "EPAY_QUERY_BATCH": "4",
    }


def answer_nothing_about(monkeypatch: pytest.MonkeyPatch, *order_nos: str) -> None:
    """Queries of these orders get no answer."""
    from shared.domain.gateway import OutcomeUnknown
    from shared.epay.client import EpayClient

    query: Callable[..., Any] = EpayClient.query

    def silent(self: EpayClient, order_no: str) -> Any:
        return OutcomeUnknown("read timeout") if order_no in order_nos else query(self, order_no)

    monkeypatch.setattr(EpayClient, "query", silent)


def test_a_wrong_key_lifts_nothing(worker: Watched, payouts: Any, env: dict[str, str]) -> None:
    """Its refusal looks like "no such order"; the control is refused too (law 12)."""
    put_control(worker.world)
    put_queued(worker.world, "order-1")
    (unknown,) = put_unknown(worker.world, "order-2")
    ran = payouts(
        "recover", *WHO, **env | {"EPAY_API_KEY": "wrong", "EPAY_NOT_FOUND_CODES": "1001"}
    )
    assert ran.code == 2
    assert "EPAY refuses control-0, an order that it must know" in ran.err
    assert "sending stays paused" in ran.err
    assert "EPAY does not show it" not in ran.out
    assert "1 queued: EPAY refuses it, and an order that it must know too" in ran.out
    assert worker.active() == [DATABASE_CHANGED]
    assert worker.world.row("order-2").absences == unknown.absences
    ran = payouts("recover", *WHO, **env)
    assert ran.code == 0
    assert "1 queued: EPAY does not show it" in ran.out
    assert worker.active() == []


@pytest.mark.parametrize("unanswered", ["queued", "submitting", "control-0"])
def test_what_could_be_sent_needs_an_answer_that_counts(
    worker: Watched,
    payouts: Any,
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    unanswered: str,
) -> None:
    """One answer of a page is not enough; without the control's answer no refusal counts."""
    put_control(worker.world)
    put_queued(worker.world, "queued", "other")
    put_submitting(worker.world, "submitting")
    put_unknown(worker.world, "unknown")
    with monkeypatch.context() as patch:
        answer_nothing_about(patch, unanswered)
        ran = payouts("recover", *WHO, **env)
    assert ran.code == 2
    if unanswered == "control-0":
        assert "3 payouts could be sent, and EPAY gave no answer that counts" in ran.err
        assert "gives no answer about an order that it must know" in ran.out
    else:
        assert "1 payout could be sent, and EPAY gave no answer that counts" in ran.err
        assert f"1 {unanswered}: no answer" in ran.out
    assert worker.active() == [DATABASE_CHANGED]
    assert payouts("recover", *WHO, **env).code == 0


def test_what_is_followed_anyway_keeps_no_pause(
    worker: Watched, payouts: Any, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown payout is sent only after its absence is proven: its missing answer is said."""
    put_control(worker.world)
    put_queued(worker.world, "queued")
    put_unknown(worker.world, "unknown")
    answer_nothing_about(monkeypatch, "unknown")
    ran = payouts("recover", *WHO, **env)
    assert ran.code == 0, ran.err
    assert "1 unknown: no answer" in ran.out


def test_an_open_payout_is_not_flagged_for_a_control_that_exists(
    worker: Watched, payouts: Any, env: dict[str, str]
) -> None:
    """The control was asked in the same wave, and passed: this absence counts."""
    put_control(worker.world)
    put_unknown(worker.world, "order-1")
    worker.world.sql(
        "UPDATE payout SET last_sent_at = last_sent_at - interval '1 hour',"
        " first_sent_at = first_sent_at - interval '1 hour' WHERE merchant_order_no = 'order-1'"
    )
    assert payouts("recover", *WHO, **env).code == 0
    row = worker.world.row()
    assert row.review_reason is None
    assert len(row.absences) == 1


def test_without_any_control_it_says_so(worker: Watched, payouts: Any, env: dict[str, str]) -> None:
    put_queued(worker.world, "order-1")
    ran = payouts("recover", *WHO, **env)
    assert ran.code == 0
    assert "1 queued: EPAY refuses it; with no payout yet that EPAY ended, this proves" in ran.out
    assert worker.active() == []


def test_another_policy_than_the_workers(
    worker: Watched, payouts: Any, env: dict[str, str]
) -> None:
    """As for every act of a person: other codes would read other answers into a refusal."""
    served = Settings(_env_file=None, **{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
    record_policy(worker.world.engine, name_policy(served), worker.world.context.clock())
    ran = payouts("recover", *WHO, **env | {"EPAY_NOT_FOUND_CODES": "1001"})
    assert ran.code == 3
    assert "recover is refused: EPAY_NOT_FOUND_CODES is 1001 here" in ran.err
    assert worker.active() == []
    assert payouts("recover", *WHO, **env).code == 0


def test_every_pause_of_the_code_is_lifted(
    worker: Watched, payouts: Any, env: dict[str, str]
) -> None:
    """An earlier version set several at one moment."""
    insert = (
        "INSERT INTO payout_brake (set_at, set_by, reason, code)"
        " VALUES (now(), 'the service', 'another timeline', 'database_changed')"
    )
    for _ in range(3):
        worker.world.sql(insert)
    assert payouts("recover", *WHO, **env).code == 0
    assert pauses.active(worker.world.engine) == []


def test_a_vanished_record_is_made_anew(worker: Watched, payouts: Any, env: dict[str, str]) -> None:
    """Then workers start again, and an order that the database never saw is asked about first."""
    worker.world.sql("DELETE FROM payout_deployment")
    ran = payouts("recover", *WHO, **env)
    assert ran.code == 0
    assert "Database: has no record of this deployment" in ran.out
    found = deployment.find(worker.world.engine)
    assert found is not None
    assert worker.known()["database"] == found.token
    assert DatabaseWatch(worker.world.engine, worker.redis, owner).start() is None
    assert worker.world.ask()["status"] == "unknown"
    assert kinds(worker.world)[-1] == "asked_first"


OTHER_KEY = "OTHERKEY456"


@pytest.fixture
def second_gateway() -> Iterator[Gateway]:
    with Gateway(SandboxConfig(pay_after=0.05, api_key=OTHER_KEY)) as found:
        yield found


def test_every_configured_account_is_asked(
    worker: Watched,
    payouts: Any,
    env: dict[str, str],
    second_gateway: Gateway,
    tmp_path: Path,
) -> None:
    """Each at its own gateway, however it was spelled; those of no account are named."""
    world = worker.world
    here, there = gateway_of(world.gateway.base_url), gateway_of(second_gateway.base_url)
    put_queued(world, "own", epay_gateway=here)
    put_queued(world, "spelled", epay_account=f" {ACCOUNT.upper()}", epay_gateway=here)
    put_queued(world, "second", epay_gateway=there)
    put_queued(world, "gone-1", "gone-2", epay_account="old@epay.com", epay_gateway=here)
    file = tmp_path / "accounts.toml"
    file.write_text(
        "".join(
            f'[[account]]\naccount = "{ACCOUNT}"\nbase_url = "{url}"\napi_key = "{key}"\n'
            for url, key in (
                (world.gateway.base_url, API_KEY),
                (second_gateway.base_url, OTHER_KEY),
            )
        )
    )
    ran = payouts("recover", *WHO, **env | {"EPAY_ACCOUNTS_FILE": str(file)})
    assert ran.code == 0, ran.err
    assert "Asked EPAY about 3 payouts:" in ran.out
    reason = f"the account old@epay.com at {here} is not configured here"
    assert f"Not asked about, for {reason}: gone-1, gone-2" in ran.out
