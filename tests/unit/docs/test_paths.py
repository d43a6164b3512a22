"""Pages, docstrings and comments name files, modules, links and sections that exist."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROGRAMS = ("shared", "worker", "webhook", "ops", "sandbox", "devstack")
FOLDERS = (*PROGRAMS, "bench", "tests")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
MODULES = [path for folder in PROGRAMS for path in sorted((ROOT / folder).rglob("*.py"))]
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
GATEWAY = ROOT / "docs" / "epay-gateway.md"

_ROOTS = "|".join(FOLDERS)
_PATH = re.compile(rf"(?<![\w./-])(?:{_ROOTS}|docs|requirements)/(?:[\w.*/-]|<\w+>)*")
_INLINE_CODE = re.compile(r"`([^`\n]+)`")
_DOTTED = re.compile(rf"(?<![\w./-])(?:{_ROOTS})(?:\.[A-Za-z_]\w*)+")
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_NUMBER = r"\d+(?:\.\d+)?"
_CITATION = re.compile(
    rf"\b(?:[Ss]ections?|epay-gateway) ({_NUMBER}(?:(?:, | and )(?:{_NUMBER}))*)"
)
_OTHER_DOCUMENT = re.compile(r"\b(?:design|findings|house-plan)(?:\.md)?,? section")

OLD_WORDS = {
    "Together": r"\bTogether\b",
    "Vault": r"\bVault\b",
    "Desk": r"\bDesk\b",
    "daybook": r"\bdaybook\b",
    "leash": r"\bleash\b",
    "blot": r"\bblot\b",
    "patience": r"\bpatience\b",
    "asker": r"\bAsker\b|\basker\b",
    "brakes, a module": r"\bbrakes\.py\b|\.brakes\b|\bimport brakes\b",
    "ground, a module": r"\bground\.py\b|\.ground\b|\bimport ground\b|\bunsafe ground\b",
}
"""Private names of earlier versions; only CHANGELOG.md says what became of them."""
KEPT = re.compile(r"\bpayout_brake\b|\bpayouts brakes\b|\b0002_brakes_and_books\b|[\"']asker[\"']")
"""Names that other programs use: a table, a command, a migration, an actor in journal events."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a module's docstrings and comments, with their numbers."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield from enumerate(node.value.value.splitlines(), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a page, or the prose of a module."""
    if path.suffix == ".py":
        return list(prose(path))
    return list(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))


def path_exists(named: str) -> bool:
    """Whether a file or folder of this name exists; `*` and `<name>` stand for any name."""
    pattern = re.sub(r"<\w+>", "*", named.rstrip("./"))
    return next(ROOT.glob(pattern), None) is not None


def module_exists(dotted: str) -> bool:
    """Whether this is a folder, a module, or a name that the module defines."""
    parts = dotted.split(".")
    if ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file():
        return True
    for length in range(len(parts) - 1, 0, -1):
        module = ROOT.joinpath(*parts[:length])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                return re.search(rf"\b{parts[length]}\b", file.read_text("utf-8")) is not None
    return False


def slug(heading: str) -> str:
    """The anchor that a heading gets on the repository's host."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(page: Path) -> list[str]:
    """The headings of a page."""
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


@functools.cache
def all_lines() -> list[tuple[Path, int, str]]:
    """Every line of the project's files, but for the changelog and this module."""
    files = [
        *(path for folder in (*FOLDERS, "docs") for path in (ROOT / folder).rglob("*")),
        *ROOT.iterdir(),
    ]
    return [
        (path, number, line.strip())
        for path in sorted(files)
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".coverage")
        if path not in {ROOT / "CHANGELOG.md", Path(__file__)}
        for number, line in enumerate(path.read_text("utf-8", errors="ignore").splitlines(), 1)
    ]


def at(path: Path, number: int, what: str) -> str:
    """Where something is, as a person reads it."""
    return f"{path.relative_to(ROOT)}:{number}: {what}"


def test_the_patterns_find_what_they_look_for() -> None:
    """A path, a pattern of paths, a module, a citation; and what is none of these."""
    assert _PATH.findall("see `tests/unit/<path>/test_a_*.py`, docs/a.md.") == [
        "tests/unit/<path>/test_a_*.py",
        "docs/a.md.",
    ]
    assert _DOTTED.findall("python -m tests.simulation, payouts.webhook") == ["tests.simulation"]
    assert _CITATION.findall("epay-gateway sections 3.1 and 4, section 5.") == ["3.1 and 4", "5"]
    assert path_exists("shared/domain/<name>.py")
    assert not path_exists("shared/nowhere.py")
    assert module_exists("shared.clock.utcnow")
    assert not module_exists("shared.clock.nowhere")
    assert not module_exists("shared.nowhere")


def test_every_path_exists() -> None:
    """In pages, docstrings and comments."""
    missing = [
        at(path, number, named)
        for path in (*PAGES, *MODULES)
        for number, line in lines(path)
        for named in _PATH.findall(line)
        if not path_exists(named)
    ]
    assert missing == []


def test_every_module_in_code_spans_exists() -> None:
    """In pages, docstrings and comments."""
    missing = [
        at(path, number, dotted)
        for path in (*PAGES, *MODULES)
        for number, line in lines(path)
        for code in _INLINE_CODE.findall(line)
        for dotted in _DOTTED.findall(code)
        if not module_exists(dotted)
    ]
    assert missing == []


def test_every_link_leads_somewhere() -> None:
    """To a file, and to a heading of it."""
    broken = []
    for page in PAGES:
        for number, line in lines(page):
            for target, anchor in _LINK.findall(line):
                file = (page.parent / target).resolve() if target else page
                if not file.exists():
                    broken.append(at(page, number, target))
                elif anchor and anchor not in map(slug, headings(file)):
                    broken.append(at(page, number, f"{target}#{anchor}"))
    assert broken == []


def test_every_cited_section_exists() -> None:
    """In the code, a section is one of docs/epay-gateway.md."""
    numbered = (re.match(rf"({_NUMBER})\.? ", heading) for heading in headings(GATEWAY))
    known = {found[1] for found in numbered if found}
    missing = [
        at(path, number, cited)
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for citation in _CITATION.findall(line)
        for cited in re.findall(_NUMBER, citation)
        if cited not in known or _OTHER_DOCUMENT.search(line)
    ]
    assert len(known) > 10
    assert missing == []


@pytest.mark.parametrize("word", OLD_WORDS)
def test_old_words_are_in_the_changelog_alone(word: str) -> None:
    """The names of earlier versions."""
    pattern = re.compile(OLD_WORDS[word])
    found = [
        at(path, number, line)
        for path, number, line in all_lines()
        if pattern.search(KEPT.sub("", line))
    ]
    assert found == []
    assert pattern.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
