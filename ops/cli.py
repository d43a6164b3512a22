"""The `payouts` command: puts the commands together, and turns known errors into words."""

from __future__ import annotations

import sys

import typer

from devstack.binaries import ServerNotInstalled
from ops.commands import (
    archive,
    balance,
    batch,
    brakes,
    demo,
    dev,
    doctor,
    enqueue,
    keys,
    listing,
    migrate,
    pause,
    report,
    resolve,
    review,
    sandbox,
    schema,
    show,
    verify,
)
from ops.console import fail
from ops.errors import UserError
from shared.config.settings import SettingsError
from shared.storage.encryption import CipherError

app = typer.Typer(
    help="Payouts over the EPAY gateway: set up, try out, look at, answer for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 something is ill, differs, or you said no; 2 it could not be"
    " done: how it was typed, a setting, a server; 3 a rule forbids it.",
)
app.command("migrate")(migrate.migrate)
app.command("enqueue")(enqueue.enqueue)
app.command("batch")(batch.batch)
app.command("show")(show.show)
app.command("list")(listing.list_)
app.command("review")(review.review)
app.command("resolve")(resolve.resolve)
app.command("verify")(verify.verify)
app.command("report")(report.report)
app.command("archive")(archive.archive)
app.command("doctor")(doctor.doctor)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("brakes")(brakes.brakes)
app.command("balance")(balance.balance)
app.command("limits")(balance.limits)
app.command("schema")(schema.schema)
app.command("new-key")(keys.new_key)
app.command("rotate-keys")(keys.rotate_keys)
app.command("demo")(demo.demo)
app.command("dev")(dev.dev)
app.command(
    "sandbox",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(sandbox.sandbox)


def main() -> None:
    """Run the command; a known error is one clear message on stderr and exit code 2."""
    try:
        app()
    except (UserError, ServerNotInstalled, SettingsError, CipherError) as error:
        fail(str(error))
        sys.exit(getattr(error, "exit_code", 2))
