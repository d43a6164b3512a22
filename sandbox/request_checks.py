"""What the gateway checks before it does anything; failing has a code of the sandbox's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sandbox.faults import plan_from_text
from sandbox.settings import SandboxConfig
from shared.epay.signing import verify

VERSIONS = frozenset({"V1.0.0", "V2.0.0"})


class RefusedError(Exception):
    """The call is answered with a code other than 1."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Envelope(BaseModel):
    """A request body that has the right shape (section 2). Nothing in it was checked yet."""

    param: dict[str, Any]
    sign: str

    def text(self, name: str) -> str | None:
        """Give a field of `param` if it is a text with something in it."""
        value = self.param.get(name)
        return value if isinstance(value, str) and value else None

    def check_sender(self, config: SandboxConfig) -> None:
        """Check the account, the signature (section 4) and the version; or raise RefusedError."""
        if self.param.get("epayAccount") != config.account:
            raise RefusedError(config.wrong_account_code, "unknown epayAccount")
        if not verify(self.param, self.sign, [config.api_key], config.nested):
            raise RefusedError(config.bad_signature_code, "signature error")
        if self.param.get("version") not in VERSIONS:
            raise RefusedError(config.bad_request_code, "unknown version")


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - pydantic reports a ValueError
    return value


def _check_markers(remark: str | None) -> str | None:
    plan_from_text(remark or "")
    return remark


_Text = Annotated[str, Field(min_length=1)]


class _Param(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Receiver(_Param):
    account_no: _Text
    remark: Annotated[str | None, AfterValidator(_check_markers)] = None


class CreateParam(_Param):
    """`param` of createEwalletTransaction, also with the fields that 3.1 marks (!)."""

    category: Literal["EWALLET"]
    channel_code: Literal["11", "12", "16", "18"]
    merchant_order_no: _Text
    currency: _Text
    amount: Annotated[Decimal, BeforeValidator(_require_text), Field(gt=0)]
    receiver_info: _Receiver
    notify_url: Annotated[str, Field(pattern="^(https?://|$)")] | None = None
    extend_fields: dict[str, Any] | None = None


class QueryParam(_Param):
    """`param` of queryTransaction (section 3.2)."""

    merchant_order_no: _Text


class LimitParam(_Param):
    """`param` of getLimit, for EWALLET too although its table does not list it (section 3.3)."""

    currency: _Text
    category: Literal["BANK", "CASH", "EWALLET"]
