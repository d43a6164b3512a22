"""The results as JSON and as the tables of docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.interleave import Section
from bench.ratios import judge, medians

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def as_data(section: Section, machine: Mapping[str, str], command: str) -> dict[str, Any]:
    """What is kept of a section."""
    verdicts = [judge(criterion, section.rounds) for criterion in section.criteria]
    return {
        "title": section.title,
        "setting": section.setting,
        "command": command,
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": dict(machine),
        "columns": dict(section.columns),
        "rounds": section.rounds,
        "medians": medians(section.rounds),
        "criteria": [
            {
                "words": verdict.criterion.words,
                "kind": verdict.criterion.kind,
                "bound": verdict.criterion.bound,
                "rounds": list(verdict.ratios),
                "median": verdict.median,
                "worst": verdict.worst,
                "holds": verdict.holds,
            }
            for verdict in verdicts
            if verdict
        ],
        "notes": dict(section.notes),
        **section.extra,
    }


def merge(path: Path, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put sections into the results, beside those of other runs; all of them."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results |= sections
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    unfinished.replace(path)
    return results


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All sections as Markdown."""
    return "\n".join(_lines(results))


def _lines(results: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for data in results.values():
        yield f"### {data['title']}\n"
        yield f"{data['setting']}. Measured {data['measured_at'][:10]} by `{data['command']}`.\n"
        yield from _figures(data)
        yield from _criteria(data)
        yield from _notes(data)
    machines = {json.dumps(data["machine"]): data["machine"] for data in results.values()}
    for machine in machines.values():
        yield "Machine: " + ", ".join(f"{name} {what}" for name, what in machine.items()) + "."


def _figures(data: Mapping[str, Any]) -> Iterable[str]:
    columns, rounds = data["columns"], data["rounds"]
    yield f"| median of {len(rounds)} | " + " | ".join(columns.values()) + " |"
    yield "|---|" + "---:|" * len(columns)
    for variant, figures in data["medians"].items():
        yield f"| {variant} | " + " | ".join(_shown(figures[name]) for name in columns) + " |"
    yield ""


def _criteria(data: Mapping[str, Any]) -> Iterable[str]:
    if not data["criteria"]:
        return
    yield "| ratio | wanted | median | worst | |"
    yield "|---|---|---:|---:|---|"
    for item in data["criteria"]:
        wanted = f"{item['kind']} {item['bound']:g}"
        holds = "holds" if item["holds"] else "**does not hold**"
        found = f"{item['median']:.2f} | {item['worst']:.2f}"
        yield f"| {item['words']} | {wanted} | {found} | {holds} |"
    yield ""


def _notes(data: Mapping[str, Any]) -> Iterable[str]:
    for heading, text in data["notes"].items():
        yield f"{heading}:\n\n```\n{text}\n```\n"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def update(page: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the tables between the markers of a page.

    Raises:
        ValueError: the page lacks the markers.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}")
