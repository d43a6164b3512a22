"""tests/unit mirrors the tree: a module's test is found by the module's name."""

from __future__ import annotations

import pytest

from tests.support.paths import ROOT

UNIT = ROOT / "tests" / "unit"

OUTSIDE_THE_MIRROR = ("bench/", "docs/", "packaging/", "test_isolation.py", "test_mirror.py")
"""About pages and files that are no modules, and about the tests themselves."""
OTHER_NAMES = {
    "worker/broker/test_private_names.py": "worker/broker/__init__.py",
}
"""Tests with a better name than that of their module."""

PURE_ROOMS = ("shared/domain", "shared/epay", "shared/config", "ops/batch", "ops/wording")
"""Each module in these needs no server, and so has a unit test."""
TESTED_ELSEWHERE = {
    "shared/domain/gateway.py": "values without behaviour",
    "shared/domain/holds.py": "shared/domain/test_lifecycle_caps_and_limits.py",
    "shared/domain/notifications.py": "shared/domain/test_lifecycle_law_8.py",
    "shared/domain/payout.py": "shared/domain/test_lifecycle_law_7.py",
    "shared/domain/policy.py": "values without behaviour",
    "shared/domain/reports.py": "shared/domain/test_lifecycle_law_5.py",
    "shared/domain/scheduling.py": "shared/domain/test_lifecycle_law_3.py",
    "shared/config/types.py": "shared/config/test_settings.py",
    "ops/batch/submission.py": "tests/integration/ops/commands/test_batch_submission.py",
}

TESTS = sorted(path.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py"))


def subjects(test: str) -> list[str]:
    """The modules that the test may be about: test_lifecycle_law_1.py is about lifecycle.py."""
    if test in OTHER_NAMES:
        return [OTHER_NAMES[test]]
    folder, _, name = test.rpartition("/")
    words = name.removeprefix("test_").removesuffix(".py").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return [f"{folder}/{name}{ending}" for name in names for ending in (".py", ".lua")]


@pytest.mark.parametrize(
    "test", [test for test in TESTS if not test.startswith(OUTSIDE_THE_MIRROR)]
)
def test_every_unit_test_has_its_module(test: str) -> None:
    assert any((ROOT / subject).exists() for subject in subjects(test)), subjects(test)


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_every_module_of_a_pure_room_has_its_test(room: str) -> None:
    """By its name, or listed with the test that has it."""
    modules = {f"{room}/{path.name}" for path in (ROOT / room).glob("[!_]*.py")}
    tested = {subject for test in TESTS for subject in subjects(test)}
    assert modules - tested == {module for module in TESTED_ELSEWHERE if module in modules}


def test_exceptions_exist() -> None:
    """The lists name no module or test that is gone."""
    for module, where in TESTED_ELSEWHERE.items():
        assert (ROOT / module).exists(), module
        if where.startswith("shared/"):
            assert where in TESTS
    assert set(OTHER_NAMES) <= set(TESTS)
