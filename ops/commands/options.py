"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

OrderNo = Annotated[str, Argument(help="The order number of the requesting app.")]
Account = Annotated[
    str | None, Option("--account", "--epay-account", help="Only of this EPAY account.")
]
Name = Annotated[str, Option("--name", help="Who you are; it goes on record.")]
Reason = Annotated[str, Option("--reason", help="Why; it goes on record.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
