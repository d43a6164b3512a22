"""The Procfile and the Makefile as a shell and make read them."""

from __future__ import annotations

import re
import subprocess

from honcho import environ

from tests.support.paths import ROOT

PROCFILE = environ.parse_procfile((ROOT / "Procfile").read_text()).processes


def test_procfile_is_understood_by_the_shell() -> None:
    """Defaults apply when nothing is set, and honcho hands the text to a shell as it is."""
    for command in PROCFILE.values():
        script = f"set -u; printf '%s\\n' {command.removeprefix('exec ')}"
        shown = subprocess.run(
            ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True
        ).stdout.split("\n")
        assert "${" not in "".join(shown)
        assert "32" in shown or "8" in shown or "beat" in shown or "127.0.0.1:8000" in shown


def test_make_says_what_there_is() -> None:
    """`make` alone lists every target that a person may call."""
    makefile = (ROOT / "Makefile").read_text()
    shown = subprocess.run(
        ["make", "-C", str(ROOT)], capture_output=True, text=True, check=True
    ).stdout

    assert re.findall(r"^  make (\w+)", shown, re.MULTILINE) == re.findall(
        r"^\.PHONY: (\w+)", makefile, re.MULTILINE
    )
