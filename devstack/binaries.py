"""Finding the server programs that the wheels of the `local` extra carry."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ops.errors import UserError


class LocalExtraMissingError(UserError):
    """The `local` extra is not installed; the text says how to install it."""


def bundled_file(package: str, relative: str) -> Path:
    """The path of an executable inside an installed package.

    The package is located, not imported: its import would look for runtime folders and warn.

    Raises:
        LocalExtraMissingError: the package, or this file of it, is not there.
    """
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        found = Path(root, relative)
        if found.is_file() and os.access(found, os.X_OK):
            return found
    raise LocalExtraMissingError(
        f"no {Path(relative).name} from the package {package.replace('_', '-')}: "
        "install epay-payouts[local] to run servers on this machine, "
        "or set DATABASE_URL and REDIS_URL to servers that you have"
    )
