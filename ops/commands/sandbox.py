"""`payouts sandbox`: the stand-in gateway, in its own process."""

from __future__ import annotations

import os
import sys

from typer import Context


def sandbox(ctx: Context) -> None:
    """Run the stand-in EPAY gateway. `payouts sandbox --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", *ctx.args])  # noqa: S606
