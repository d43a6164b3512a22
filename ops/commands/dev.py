"""`payouts dev`: the whole service on this machine until Ctrl-C, to try an app against it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from ops.demo.dev import run


def dev(
    data: Annotated[
        Path | None,
        Option(help="Keep the data in this folder from run to run; default: no data kept."),
    ] = None,
    env_file: Annotated[
        Path, Option(help="Write the settings to this file, for a shell to source.")
    ] = Path(".local/dev.env"),
) -> None:
    """Run every process on servers of this machine, with the stand-in gateway, until Ctrl-C.

    The ports stay the same from run to run. Settings in your environment are used:
    EPAY_CHECK_LIMITS=on payouts dev. How to make the gateway misbehave: docs/trying.md.

    Exit 1 if a process or a server ended by itself.
    """
    with tempfile.TemporaryDirectory(prefix="payouts-dev-") as logs:
        raise Exit(run(Path(logs), data, env_file))
