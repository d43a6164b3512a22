"""What a worker process is made of, by its settings; in a process of its own, as a worker is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROBE = """
import json
from shared.config.settings import load
from worker.bootstrap import WorkerRuntime
context = WorkerRuntime(load()).context
print(json.dumps([
    context.account, context.store._several_accounts, sorted(context.send_guard._other_breakers)
]))
"""
ACCOUNT = """
[[account]]
account = "{0}@example.com"
base_url = "https://{0}.example/capi/openapi"
api_key = "{0}"
"""


@pytest.mark.parametrize(
    ("names", "made"),
    [
        (["a"], ["a@example.com", False, []]),
        (["b", "a", "c"], ["a@example.com", True, ["b.example", "c.example"]]),
    ],
)
def test_several_accounts_lock_numbers_and_have_a_breaker_for_each_gateway(
    database_url: str, redis_url: str, tmp_path: Path, names: list[str], made: list[object]
) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text("".join(map(ACCOUNT.format, names)))
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EPAY_ACCOUNTS_FILE": str(file),
        "EPAY_ACCOUNT": "a@example.com",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={"PATH": os.environ["PATH"]} | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == made
