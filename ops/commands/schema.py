"""`payouts schema`: the JSON schema of a request, or of the answer to the asking app."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ops.console import as_json, say
from ops.json_schema import SCHEMAS


class Which(StrEnum):
    """What there is a schema of."""

    REQUEST = "request"
    OUTCOME = "outcome"


def schema(
    which: Annotated[
        Which, typer.Argument(help="The kwargs of `payouts.request`, or those of your own task.")
    ],
) -> None:
    """Print a JSON schema; the same is in docs/schema."""
    say(as_json(SCHEMAS[which.value]()))
