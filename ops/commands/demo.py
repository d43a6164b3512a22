"""`payouts demo`: from nothing to 200 final payouts, through every fault."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from ops.demo.run import run
from ops.demo.scenario import EACH, FAULTS
from ops.errors import UserError


def demo(
    count: Annotated[int, Option(help="How many payouts.")] = 200,
    logs: Annotated[
        Path | None, Option(help="Keep the logs of all processes in this folder.")
    ] = None,
    limit: Annotated[float, Option(help="Stop after so many seconds without progress.")] = 30,
) -> None:
    """Run the whole service on this machine and put payouts through every fault of a gateway.

    Exit 1 if a guarantee is broken, 2 if payouts are not finished in time.
    """
    if count < len(FAULTS) * EACH:
        raise UserError(f"--count must be at least {len(FAULTS) * EACH} to meet every fault")
    with tempfile.TemporaryDirectory(prefix="payouts-demo-") as folder:
        raise Exit(run(logs or Path(folder), count=count, limit=limit))
