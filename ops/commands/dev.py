"""`payouts dev`: the whole service on this machine until Ctrl-C, to try an app against it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ops.errors import UserError


def dev(
    data: Annotated[
        Path | None,
        typer.Option(help="Keep the data in this folder from run to run; else it goes at the end."),
    ] = None,
) -> None:
    """Run every process on embedded servers, with the stand-in gateway, until Ctrl-C.

    It prints the settings to use in another terminal. Settings of yours hold for it too:
    EPAY_CHECK_LIMITS=on payouts dev. How to make the gateway misbehave: docs/trying.md.
    """
    try:
        from ops.demo.dev import run  # noqa: PLC0415 - the extra may be missing
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install 'epay-payouts[local]'") from error
    with tempfile.TemporaryDirectory(prefix="payouts-dev-") as logs:
        run(Path(logs), data)
