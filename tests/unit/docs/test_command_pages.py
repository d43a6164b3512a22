"""The pages for newcomers against the code: what they print is what runs."""

from __future__ import annotations

import ast
import re

import pytest
import typer.main

from ops.cli import COMMANDS as TABLE
from ops.cli import make_app
from ops.demo.dev import settings_of
from sandbox.faults import Fault, plan_from_text
from shared.contract import PayoutRequest
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
TRYING = (ROOT / "docs" / "trying.md").read_text()
COMMANDS = typer.main.get_command(make_app(TABLE))


def test_every_fault_is_on_the_page() -> None:
    """And nothing that is none: a marker that means nothing is refused by the sandbox."""
    listed = re.findall(r"^\| `([a-z_0-9]+)", TRYING, re.MULTILINE)
    assert sorted(listed) == sorted(Fault)
    for marker in re.findall(r"sandbox:[a-z_0-9]+(?:[=:][0-9.]+)?", TRYING):
        plan_from_text(marker)


@pytest.mark.parametrize("page", ["README.md", "docs/trying.md", "docs/operations.md"])
def test_every_command_and_option_on_the_page_exists(page: str) -> None:
    """In blocks of code, and inline."""
    text = (ROOT / page).read_text()
    typed = re.findall(r"(?:^ *|`|=\S* )payouts ([a-z][a-z-]+)([^`\n#]*)", text, re.MULTILINE)
    assert len(typed) > 5
    for name, rest in typed:
        command = COMMANDS.commands[name]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        said = set(re.findall(r"(?<![\w-])--[a-z-]+", rest))
        assert said <= known | {"--help"}, f"payouts {name}"


def test_the_readmes_app_asks_for_a_payout() -> None:
    """Its message is a request, and starting its worker asks for nothing."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    *before, guarded = ast.parse(code).body
    assert isinstance(guarded, ast.If)
    assert not any("send_task" in ast.unparse(node) for node in before)
    (call,) = [node for node in ast.walk(guarded) if isinstance(node, ast.Call)]
    (kwargs,) = [ast.literal_eval(word.value) for word in call.keywords if word.arg == "kwargs"]
    assert PayoutRequest.model_validate(kwargs).notify is not None


def test_what_is_given_goes_before_the_settings_of_dev() -> None:
    """An empty value too: it switches the code for `no such order` off."""
    assert settings_of({})["EPAY_NOT_FOUND_CODES"] == "2001"
    given = settings_of({"EPAY_NOT_FOUND_CODES": "", "EPAY_SETTLE_SECONDS": "30", "HOME": "x"})
    assert given["EPAY_NOT_FOUND_CODES"] == ""
    assert given["EPAY_SETTLE_SECONDS"] == "30"
    assert "HOME" not in given
