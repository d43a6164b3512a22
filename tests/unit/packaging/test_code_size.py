"""The limits on the size of the code."""

from __future__ import annotations

import runpy

import pytest

from tests.support.paths import ROOT

CODE_SIZE = runpy.run_path(str(ROOT / ".ci/code_size.py"))
measure = CODE_SIZE["measure"]
MAX_TOTAL = CODE_SIZE["MAX_TOTAL"]
SMALL = {"shared/a.py": 10, "worker/b.py": 20, "ops/c.py": 30}


def test_summary_has_total_median_and_longest() -> None:
    """The sandbox counts for the total, but not for the median and the longest file."""
    summary, broken = measure({**SMALL, "sandbox/d.py": 2000})

    assert broken == []
    assert summary == (
        f"2,060 product lines in 4 files (limit {MAX_TOTAL:,}); "
        "shared/, worker/, webhook/, ops/: median 20 lines, longest ops/c.py with 30"
    )


@pytest.mark.parametrize(
    ("file", "limit"), [("ops/long.py", 350), ("shared/domain/lifecycle.py", 249)]
)
def test_a_file_above_its_limit_is_named(file: str, limit: int) -> None:
    """The limit itself is allowed, one line more is not."""
    assert measure({**SMALL, file: limit})[1] == []
    assert measure({**SMALL, file: limit + 1})[1] == [
        f"{file} has {limit + 1} lines, above the limit of {limit}"
    ]


def test_median_and_total_are_limited() -> None:
    """Many files of moderate length break both."""
    _, broken = measure({f"shared/{number}.py": 100 for number in range(MAX_TOTAL // 100 + 1)})

    assert broken == [
        "the median file has 100 lines, above the limit of 99",
        f"the product has {MAX_TOTAL + 100:,} lines, above the limit of {MAX_TOTAL:,}",
    ]
