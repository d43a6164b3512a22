"""What the webhook hands to the worker: the fields of a callback that a payout needs, no others.

pinCode, account numbers and free text never get onto the broker.
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.domain.gateway import Report

_Short = Annotated[str, StringConstraints(max_length=128)]
_Host = Annotated[str, StringConstraints(max_length=300)]


class CallbackMessage(BaseModel):
    """The kwargs of `payouts.callback`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verified: bool
    """Whether the signature held."""
    merchant_order_no: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    epay_account: _Short | None = None
    epay_order_no: _Short | None = None
    status: _Short | None = None
    amount: Decimal | None = None
    currency: _Short | None = None
    fee: Decimal | None = None
    gateways: Annotated[tuple[_Host, ...], Field(min_length=1)] | None = None
    """The hosts of the gateway whose key verified it, if several accounts are configured."""

    @classmethod
    def of(cls, report: Report, *, verified: bool) -> CallbackMessage:
        """The message for a parsed callback.

        Raises:
            pydantic.ValidationError: it names no order, or a field is absurdly long.
        """
        fields = asdict(report) | {"merchant_order_no": report.merchant_order_no or ""}
        del fields["source"]
        fields["gateways"] = report.gateways or None
        return cls(verified=verified, **fields)

    def report(self) -> Report:
        """What the callback says, for the lifecycle."""
        fields = self.model_dump(exclude={"verified"}) | {"gateways": self.gateways or ()}
        return Report(source="callback", **fields)
