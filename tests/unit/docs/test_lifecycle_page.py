"""docs/lifecycle.md says what the code does."""

from __future__ import annotations

import re

import pytest

from shared.domain import review
from shared.domain.payout import Status
from shared.domain.transitions import FINAL, STATUS_OF_EPAY_CODE, TRANSITIONS
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "lifecycle.md"
TEXT = PAGE.read_text(encoding="utf-8")
_MOVE = re.compile(r"^ +(\w+|\[\*\]) --> (\w+|\[\*\])", re.MULTILINE)


def table(heading: str) -> list[list[str]]:
    """The rows of the table that begins with this column, without its heading."""
    lines = TEXT.splitlines()
    start = next(nth for nth, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(cell: str) -> list[str]:
    """What is set in code in a cell."""
    return re.findall(r"`(\w+)`", cell)


def test_the_moves() -> None:
    """Every status in the code's order, with exactly its moves."""
    rows = table("status")
    assert [row[0] for row in rows] == [f"`{status}`" for status in Status]
    for status, (_, means, targets) in zip(Status, rows, strict=True):
        assert len(names(targets)) == len(set(names(targets)))
        assert set(names(targets)) == {target.value for target in TRANSITIONS[status]}
        assert means.startswith("final:") == (status in FINAL) == (targets == "nothing")


def test_the_codes_of_epay() -> None:
    """Every row of EPAY's table, with our status and whether it is an end."""
    rows = table("EPAY code")
    assert {row[0]: names(row[2])[0] for row in rows} == dict(STATUS_OF_EPAY_CODE)
    assert len(rows) == len(STATUS_OF_EPAY_CODE)
    for code, _, _, final in rows:
        assert final == ("yes" if STATUS_OF_EPAY_CODE[code] in FINAL else "no")


def test_the_review_reasons() -> None:
    """Every code, and whether it heals."""
    codes = {
        value for name, value in vars(review).items() if name.isupper() and isinstance(value, str)
    }
    rows = table("code")
    assert sorted(names(row[0])[0] for row in rows) == sorted(codes)
    for code, _, heals in rows:
        assert heals == ("no" if names(code)[0] in review.STICKY else "yes")


def test_the_diagram_draws_no_move_that_is_not_allowed() -> None:
    """It leaves some out, but invents none, and shows every status that is not an end."""
    drawn = _MOVE.findall(TEXT)
    assert len(drawn) > 10
    for start, end in drawn:
        if start == "ended" or end == "[*]":
            continue
        targets = FINAL - {Status.REJECTED} if end == "ended" else {Status(end)}
        if start != "[*]":
            assert targets <= TRANSITIONS[Status(start)], (start, end)
    shown = {name for pair in drawn for name in pair}
    assert shown >= {status.value for status in Status if status not in FINAL}


@pytest.mark.parametrize("status", sorted(FINAL - {Status.REJECTED}))
def test_the_diagram_names_every_end(status: Status) -> None:
    """In its note."""
    note = next(line for line in TEXT.splitlines() if "note right of ended" in line)
    assert status.value in note
