"""Runs `payouts batch` as a person does, on a real database and a real broker."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy import Engine, text

from shared.storage.engine import make_engine
from tests.support.batch_rows import ACCOUNT, HEADER

if TYPE_CHECKING:
    from tests.integration.ops.conftest import Payouts, Ran

SECRET = "41111810111111111111"
GOOD = f"{HEADER}\na-1,10.50,USD,11,{SECRET}\na-2,0.10,USD,11,007\n\na-3,7,EUR,12,008\n"


class Harness:
    """Files, servers, and the command between them."""

    def __init__(self, payouts: Payouts, database_url: str, redis_url: str, folder: Path) -> None:
        self._payouts = payouts
        self._engine: Engine = make_engine(database_url, pool_size=1)
        self.redis_url = redis_url
        self.environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EPAY_ACCOUNT": ACCOUNT,
        }
        self.file = folder / "may.csv"

    def batch(self, content: str | None, *options: str, **environment: str) -> Ran:
        if content is not None:
            self.file.write_text(content)
        return self._payouts(
            "batch", str(self.file), *options, **{**self.environment, **environment}
        )

    def sql(self, statement: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(statement)))

    def hinted(self) -> list[int]:
        with redis.Redis.from_url(self.redis_url) as client:
            bodies = [json.loads(body) for body in client.lrange("payouts", 0, -1)]
        assert {body["headers"]["task"] for body in bodies} <= {"payouts.submit"}
        return [int(body["headers"]["kwargsrepr"].split(": ")[1].split(",")[0]) for body in bodies]

    def close(self) -> None:
        self._engine.dispose()


def results(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))
