"""`payouts schema`: the JSON schema of a request, or of an outcome message."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from typer import Argument

from ops.console import as_json, say
from ops.json_schema import SCHEMAS

Which = StrEnum("Which", {name.upper(): name for name in SCHEMAS})  # type: ignore[misc]
"""The messages that have a schema."""


def schema(
    which: Annotated[
        Which, Argument(help="The kwargs of `payouts.request`, or of your outcome task.")
    ],
) -> None:
    """Print a JSON schema; docs/schema has the same."""
    say(as_json(SCHEMAS[which.value]()))
