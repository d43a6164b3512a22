"""`payouts archive`, and `payouts verify --archive`, as a person runs them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from shared.clock import utcnow
from shared.domain import lifecycle
from shared.domain.policy import Policy
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from tests.support.factories import make_report, make_service_payout

LONG_AGO = utcnow() - timedelta(days=500)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def paid_long_ago(engine: Engine) -> None:
    """One payout that ended 500 days ago."""
    store = PayoutStore(engine)
    new = make_service_payout("order-1", LONG_AGO)
    step = lifecycle.accept(new, claim_id="c", now=LONG_AGO, policy=Policy())
    [payout] = store.insert([step])
    assert payout is not None
    paid = make_report("7", "create", payout=payout, epay_order_no="E1", fee=Decimal(0))
    store.apply(
        lifecycle.on_create_answer(
            payout, paid, claim_id="c", now=LONG_AGO, policy=Policy(), jitter=0
        )
    )


@pytest.mark.usefixtures("paid_long_ago")
def test_it_counts_first_and_moves_when_told(
    payouts: Any, database_url: str, tmp_path: Path
) -> None:
    call = ("archive", "--older-than", "400d", "--to", str(tmp_path))
    counted = payouts(*call, DATABASE_URL=database_url)
    assert counted.code == 0
    assert "1 payout finished before" in counted.out
    assert list(tmp_path.iterdir()) == []
    done = payouts(*call, "--confirm", DATABASE_URL=database_url)
    assert done.code == 0
    [file] = tmp_path.iterdir()
    assert f"{file.name}: 1 payout, 1 event" in done.out
    assert b"U1234567890" not in gzip.decompress(file.read_bytes())
    for checked in (("verify",), ("verify", "--archive", str(file))):
        found = payouts(*checked, DATABASE_URL=database_url)
        assert (found.code, "1 payout: journal intact" in found.out) == (0, True)


@pytest.mark.parametrize(
    ("age", "folder", "words"),
    [
        ("29d", ".", "at least 30d"),
        ("1 year", ".", "takes days"),
        ("400d", "nowhere", "is not a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    payouts: Any, database_url: str, tmp_path: Path, age: str, folder: str, words: str
) -> None:
    call = ("archive", "--older-than", age, "--to", str(tmp_path / folder), "--confirm")
    refused = payouts(*call, DATABASE_URL=database_url)
    assert refused.code == 2
    assert words in refused.err


def test_a_file_that_is_no_archive_is_named(
    payouts: Any, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "x.gz").write_text("no archive")
    refused = payouts("verify", "--archive", str(tmp_path / "x.gz"), DATABASE_URL=database_url)
    assert refused.code == 2
    assert "an archive could not be read" in refused.err
