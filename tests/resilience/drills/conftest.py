"""One service for all drills: it must recover from each fault before the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.drill import Drill, Figure, drilled_service

_FIGURES = pytest.StashKey[list[Figure]]()


@pytest.fixture(scope="package")
def running(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Drill]:
    """The service, started once."""
    figures = pytestconfig.stash.setdefault(_FIGURES, [])
    with drilled_service(tmp_path_factory.mktemp("drills"), figures) as drill:
        yield drill


@pytest.fixture
def drill(running: Drill, request: pytest.FixtureRequest) -> Drill:
    """The service without a fault."""
    name = request.node.name.removeprefix("test_")
    running.begin("".join(letter if letter.isalnum() else "-" for letter in name).strip("-"))
    return running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured."""
    figures = terminalreporter.config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("drills")
    for figure in figures:
        terminalreporter.line(f"{figure.drill:38} {figure.what:58} {figure.value:>8}")
