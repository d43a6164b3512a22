"""`payouts batch` with its files and servers, and a batch of two thousand rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.batch_file import BatchFile, make_batch
from tests.support.batch_harness import Harness

if TYPE_CHECKING:
    from tests.integration.ops.conftest import Payouts


@pytest.fixture
def harness(payouts: Payouts, database_url: str, redis_url: str, tmp_path: Path) -> Any:
    made = Harness(payouts, database_url, redis_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def two_thousand(harness: Harness) -> BatchFile:
    return make_batch(harness.file, 2000, "big")
