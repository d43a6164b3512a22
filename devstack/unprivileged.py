"""PostgreSQL refuses to run as root: started by root, it runs as the user `nobody`."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any


def server_user() -> dict[str, Any]:
    """Arguments of `subprocess` that run a process as `nobody` if we are root; else none."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def reachable(path: Path) -> bool:
    """Whether any user may enter all the folders on the way to `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def reachable_copy(program: Path, make_folder: Callable[[], Path]) -> Path:
    """The program itself if every user can reach it, else its copy in a new folder.

    A copy leaves the permissions of the user's folders as they are. It holds the installation (the
    folder above `bin`) and the libraries that its wheel put beside the package.
    """
    if reachable(program):
        return program
    site, scratch = program.parents[3], make_folder()
    package, installation = program.relative_to(site).parts[:2]
    for folder in (f"{package}/{installation}", f"{package}.libs"):
        if (site / folder).is_dir():
            shutil.copytree(site / folder, scratch / folder, symlinks=True)
    return scratch / program.relative_to(site)
