"""`payouts batch --confirm`: what is on disk and on the broker, also after an interruption."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis

from devstack.ports import free_port
from ops.commands import batch as command
from shared.messaging.owner import KEY
from shared.storage import deployment
from shared.storage.encryption import AccountCipher, new_key
from tests.support.batch_file import BatchFile
from tests.support.batch_harness import GOOD, SECRET, Harness, results


def test_confirmed_it_is_on_disk_and_hinted(harness: Harness) -> None:
    """Queued under a lease, a hint for each, every digit kept, and a verdict for each row."""
    ran = harness.batch(GOOD, "--confirm")
    assert ran.code == 0
    assert "3 accepted" in ran.out
    rows = harness.sql(
        "SELECT id, merchant_order_no, amount, account_no, status, nonce,"
        " due_at - created_at AS lease FROM payout ORDER BY id"
    )
    assert [(row.merchant_order_no, row.amount, row.account_no) for row in rows] == [
        ("a-1", Decimal("10.50"), SECRET),
        ("a-2", Decimal("0.10"), "007"),
        ("a-3", Decimal("7.00"), "008"),
    ]
    assert {(row.status, row.lease.total_seconds()) for row in rows} == {("queued", 60)}
    assert len({row.nonce for row in rows}) == 3
    assert sorted(harness.hinted()) == [row.id for row in rows]
    found = results(harness.file.with_suffix(".result.csv"))
    assert [(row["row"], row["verdict"], row["status"]) for row in found] == [
        ("2", "accepted", "queued"),
        ("3", "accepted", "queued"),
        ("5", "accepted", "queued"),
    ]


def test_account_numbers_are_locked(harness: Harness) -> None:
    """As the workers' key says; and run again there is no conflict."""
    key = new_key()
    assert harness.batch(GOOD, "--confirm", ACCOUNT_ENCRYPTION_KEYS=key).code == 0
    (stored, *_) = [
        row.account_no for row in harness.sql("SELECT account_no FROM payout ORDER BY id")
    ]
    assert stored.startswith("fernet:")
    assert AccountCipher([key]).decrypt(stored) == SECRET
    assert "3 already there" in harness.batch(None, ACCOUNT_ENCRYPTION_KEYS=key).out


def test_without_a_broker_all_is_accepted_and_due(harness: Harness) -> None:
    """Nothing waits for a lease that nobody holds, beyond the chunk in which it was noticed."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    ran = harness.batch(GOOD, "--confirm", REDIS_URL=nowhere)
    assert ran.code == 0
    assert "accepted no wake-up message for 3 payouts" in ran.err
    assert len(harness.sql("SELECT id FROM payout WHERE due_at IS NOT NULL")) == 3


def test_the_redis_of_another_database_is_refused(harness: Harness) -> None:
    """Nothing is stored, and nothing is put on the broker."""
    deployment.pin(harness._engine)
    with redis.Redis.from_url(harness.redis_url) as client:
        client.hset(KEY, "database", "another")
        ran = harness.batch(GOOD, "--confirm")
        client.delete(KEY)
    assert ran.code == 2
    assert "nothing was sent: Redis at REDIS_URL is used with another database" in ran.err
    assert harness.sql("SELECT id FROM payout") == []
    assert harness.hinted() == []


def test_interrupted_and_run_again_each_good_row_is_there_once(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between two hints: what was committed stays, the rest follows, nothing twice."""
    hints: list[int] = []

    def impatient(_celery: object, payout_id: int) -> None:
        if len(hints) == 700:
            raise KeyboardInterrupt
        hints.append(payout_id)

    monkeypatch.setattr(command, "publish_submit", impatient)
    ran = harness.batch(None, "--confirm", "--skip-bad")
    assert ran.code == 130
    assert "Run the same command again for the rest: no payout is paid twice" in ran.err
    accepted = len(harness.sql("SELECT id FROM payout"))
    assert 0 < accepted < len(two_thousand.good)
    monkeypatch.setattr(
        command, "publish_submit", lambda _celery, payout_id: hints.append(payout_id)
    )
    again = harness.batch(None, "--confirm", "--skip-bad")
    assert again.code == 1
    assert f"{accepted} already there" in again.out
    numbers = [row.merchant_order_no for row in harness.sql("SELECT merchant_order_no FROM payout")]
    assert sorted(numbers) == two_thousand.good
    assert len(harness.sql("SELECT id FROM payout_event")) == len(two_thousand.good)
    assert len(hints) == len(set(hints))


def test_the_sweep_lets_a_big_batch_wait_in_the_queue(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would hand out all of it again, before everything else that is due."""
    monkeypatch.setattr(command, "publish_submit", lambda _celery, _payout_id: None)
    harness.batch(None, "--confirm", "--skip-bad")
    leases = [
        row.seconds
        for row in harness.sql(
            "SELECT extract(epoch FROM due_at - created_at)::float AS seconds"
            " FROM payout ORDER BY id"
        )
    ]
    assert leases[0] == 60
    assert leases == sorted(leases)
    assert 60 + 1400 / 50 < leases[-1] < 60 + 2000 / 50


def test_with_the_broker_gone_in_the_middle_the_rest_is_due_at_once(
    harness: Harness, two_thousand: BatchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refusal is enough: no hint is tried again, and the sweep needs none."""
    tried: list[int] = []

    def failing(_celery: object, payout_id: int) -> None:
        tried.append(payout_id)
        if len(tried) == 700:
            raise ConnectionError

    monkeypatch.setattr(command, "publish_submit", failing)
    ran = harness.batch(None, "--confirm", "--skip-bad")
    assert f"accepted no wake-up message for {len(two_thousand.good) - 699} payouts" in ran.err
    assert len(tried) == 700
    assert len(harness.sql("SELECT id FROM payout WHERE due_at = created_at")) > 900
