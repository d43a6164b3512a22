"""`payouts schema`: the JSON schema of a request, or of an outcome message."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ops.console import as_json, say
from ops.json_schema import SCHEMAS


class Which(StrEnum):
    """The messages that have a schema."""

    REQUEST = "request"
    OUTCOME = "outcome"


def schema(
    which: Annotated[
        Which, typer.Argument(help="The kwargs of `payouts.request`, or of your outcome task.")
    ],
) -> None:
    """Print a JSON schema; docs/schema has the same."""
    say(as_json(SCHEMAS[which.value]()))
