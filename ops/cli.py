"""The `payouts` command: a table of all commands, loaded when they are called.

A command's module is imported only if its name is among the words that were typed. Thus `--help`
and `--version` import neither Celery nor SQLAlchemy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer


class Command(NamedTuple):
    """How a command stands in `payouts --help`, and where its function is."""

    panel: str
    function: str
    """`module:name`, the module in `ops.commands`."""
    summary: str
    hidden: bool = False
    passes_options_on: bool = False
    """Its options are not typer's: all of them, `--help` too, go to another program."""


COMMANDS = {
    "demo": Command("Try", "demo:demo", "Put 200 payouts through every fault of a gateway."),
    "dev": Command("Try", "dev:dev", "Run the whole service on this machine until Ctrl-C."),
    "sandbox": Command(
        "Try", "sandbox:sandbox", "Run the stand-in EPAY gateway.", passes_options_on=True
    ),
    "migrate": Command("Run", "migrate:migrate", "Create or update the tables."),
    "doctor": Command("Run", "doctor:doctor", "Check settings, servers, queues and gateway."),
    "verify": Command("Run", "verify:verify", "Check that all journals are intact."),
    "archive": Command("Run", "archive:archive", "Move the journals of old payouts to files."),
    "new-key": Command("Run", "keys:new_key", "Print a new encryption key."),
    "rotate-keys": Command("Run", "keys:rotate_keys", "Encrypt with the first key of the list."),
    "recover": Command("Run", "recover:recover", "Ask EPAY and go on after a database restore."),
    "list": Command("Look", "listing:list_", "List payouts, the newest first."),
    "show": Command("Look", "show:show", "Show one payout and its journal."),
    "report": Command("Look", "report:report", "Compare a day's payouts with EPAY."),
    "balance": Command("Look", "balance:balance", "Ask EPAY for the balance of the account."),
    "limits": Command("Look", "balance:limits", "Ask EPAY for the limits of one payout."),
    "review": Command("Decide", "review:review", "Show the payouts that wait for a decision."),
    "resolve": Command("Decide", "resolve:resolve", "Decide about one payout."),
    "enqueue": Command("Send", "enqueue:enqueue", "Request one payout."),
    "batch": Command("Send", "batch:batch", "Check a CSV file of payouts, and send it."),
    "schema": Command("Send", "schema:schema", "Print the JSON schema of a request or outcome."),
    "pause": Command("Control", "pause:pause", "Send nothing new."),
    "resume": Command("Control", "pause:resume", "Lift a pause."),
    "controls": Command("Control", "controls:controls", "Show pauses, caps, rate and breaker."),
    "brakes": Command("Control", "controls:controls", "The old name of controls.", hidden=True),
}


def make_app(words: Collection[str]) -> typer.Typer:
    """The application, with those commands loaded whose names are among the words."""
    app = typer.Typer(
        help="Payouts over the EPAY gateway: try, run, look, decide, send, control.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done; 1 a problem was found or you answered no; 2 it could not be"
        " done (usage, a setting, a server); 3 a rule forbids it; 130 interrupted with Ctrl-C.",
    )
    app.callback()(_global_options)
    for name, command in COMMANDS.items():
        options: dict[str, Any] = {"rich_help_panel": command.panel, "hidden": command.hidden}
        if command.passes_options_on:
            options["add_help_option"] = False
            options["context_settings"] = {
                "allow_extra_args": True,
                "ignore_unknown_options": True,
            }
        if name in words:
            app.command(name, **options)(_load(command.function))
        else:
            app.command(name, help=command.summary, **options)(_not_loaded)
    return app


def main() -> None:
    """Run the command; a known error is one clear message on stderr and exit code 2 or 3."""
    try:
        make_app({*sys.argv[1:], *_words_to_complete()})()
    except Exception as error:
        if not isinstance(error, _known_errors()):
            raise
        from ops.console import fail  # noqa: PLC0415 - `--help` need not wait for it

        fail(str(error))
        sys.exit(getattr(error, "exit_code", 2))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("epay-payouts"))
        raise typer.Exit


def _global_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Nothing but the options before the command's name."""


def _load(function: str) -> Callable[..., Any]:
    module, name = function.split(":")
    loaded: Callable[..., Any] = getattr(import_module(f"ops.commands.{module}"), name)
    return loaded


def _not_loaded() -> None:
    """Stands for a command whose name was not typed."""


def _words_to_complete() -> list[str]:
    """What the shell passes when it completes a line: the words are not in argv then."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()


def _known_errors() -> tuple[type[Exception], ...]:
    from devstack.binaries import ServerNotInstalled  # noqa: PLC0415 - these imports are slow
    from ops.errors import UserError  # noqa: PLC0415
    from shared.config.settings import SettingsError  # noqa: PLC0415
    from shared.storage.encryption import CipherError  # noqa: PLC0415

    return UserError, ServerNotInstalled, SettingsError, CipherError
