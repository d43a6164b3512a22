"""The installed kombu, redis-py and Celery have every private name that worker.broker uses."""

from __future__ import annotations

import ast
import dis
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pytest

from tests.support.paths import ROOT
from worker.broker import PRIVATE_NAMES

ROOM = ROOT / "worker" / "broker"


def load_class(place: str) -> type[Any]:
    module, _, name = place.partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found


def attributes(owner: type[Any]) -> set[str]:
    """What the class defines, and what its methods assign; no object of it is made."""
    members = [value for base in owner.__mro__ for value in vars(base).values()]
    assigned = {
        step.argval
        for function in map(inspect.unwrap, filter(inspect.isfunction, members))
        for step in dis.get_instructions(function)
        if step.opname == "STORE_ATTR"
    }
    return set(dir(owner)) | assigned


def missing_names(names: Mapping[str, Sequence[str]]) -> list[str]:
    """The names that the installed version does not have."""
    return [
        f"{place}.{name}"
        for place, wanted in names.items()
        for name in wanted
        if name not in attributes(load_class(place))
    ]


def names_in_the_room() -> Iterator[str]:
    """Every attribute that the room reads, assigns or defines in a class."""
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef):
                        yield member.name
                    elif isinstance(member, ast.Assign | ast.AnnAssign):
                        yield ast.unparse(member).split()[0].rstrip(":")


def test_installed_versions_have_every_name() -> None:
    assert missing_names(PRIVATE_NAMES) == []


def test_a_renamed_method_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kombu without the name, as after a renaming, fails the check."""
    channel = load_class("kombu.transport.redis:Channel")
    monkeypatch.delattr(channel, "_brpop_start")
    assert "kombu.transport.redis:Channel._brpop_start" in missing_names(PRIVATE_NAMES)


def test_a_renamed_instance_attribute_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a name that only objects have."""
    qos = load_class("kombu.transport.virtual:QoS")
    monkeypatch.delattr(qos, "__init__")
    assert "kombu.transport.redis:QoS._quick_append" in missing_names(PRIVATE_NAMES)


def test_every_private_name_in_use_is_listed() -> None:
    """Also one of ours that hides one of theirs by accident."""
    theirs = {name for place in PRIVATE_NAMES for name in attributes(load_class(place))}
    private = {name for name in names_in_the_room() if re.match("_[^_]", name)}
    listed = {name for names in PRIVATE_NAMES.values() for name in names}
    assert private & theirs <= listed
    assert private & listed == {name for name in listed if name.startswith("_")}
