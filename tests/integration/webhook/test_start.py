"""Settings with which the webhook does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.webhook import KEY
from webhook import create_app


def test_without_settings_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which settings are missing and what each is for, and halts gunicorn (code 3)."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "EPAY_ACCOUNT", "EPAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as exited:
        create_app()
    assert exited.value.code == 3
    text = capsys.readouterr().err
    assert text.startswith("The webhook cannot start: not set in the environment or .env:")
    assert all(f"  {name}: " in text for name in ("REDIS_URL", "EPAY_ACCOUNT", "EPAY_API_KEY"))


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo in the environment ends the start in words, and repeats no value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPAY_API_KEY", KEY)
    monkeypatch.setenv("EPAY_SIGN_NESTED", "commma")
    with pytest.raises(SystemExit):
        create_app()
    said = capsys.readouterr().err
    assert "EPAY_SIGN_NESTED" in said
    assert "commma" not in said
