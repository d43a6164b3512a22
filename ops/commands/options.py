"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

OrderNo = Annotated[str, typer.Argument(help="The order number of the requesting app.")]
Account = Annotated[
    str | None, typer.Option("--account", "--epay-account", help="Only of this EPAY account.")
]
Name = Annotated[str, typer.Option("--name", help="Who you are; it goes on record.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes on record.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
