"""`payouts dev`: which settings it takes from the environment, and the file that it writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ops.demo.dev import names_given, write_env_file
from ops.errors import UserError


def test_the_settings_of_the_environment_are_named() -> None:
    """Not those that it replaces, and nothing that is no setting."""
    environment = {
        "HOME": "/root",
        "EPAY_API_KEY": "live-key",
        "EPAY_BASE_URL": "https://epay.example.com",
        "EPAY_NOT_FOUND_CODES": "",
        "DATABASE_URL": "",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SANDBOX_PAY_AFTER": "30",
    }
    assert names_given(environment) == ["EPAY_NOT_FOUND_CODES", "REDIS_URL", "SANDBOX_PAY_AFTER"]


def test_the_file_is_for_this_user_to_source(tmp_path: Path) -> None:
    """An older one is replaced, whatever its mode was."""
    path = tmp_path / "local" / "dev.env"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    write_env_file(path, {"A": "1", "B": "it's & more"})
    assert path.read_text() == "export A=1\nexport B='it'\"'\"'s & more'\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"dev\.env cannot be written"):
        write_env_file(tmp_path / "file" / "dev.env", {})
