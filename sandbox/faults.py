"""The faults that can be ordered: by a marker in receiverInfo.remark, or for all orders alike.

A marker is `sandbox:<fault>` or `sandbox:<fault>=<value>`; a remark may hold several.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, field_validator

# A colon may stand for the equals sign, since section 4.3 advises against `=` in a remark.
_MARKER = re.compile(r"sandbox:([a-z_0-9]+)(?:[=:]([0-9.]+))?")


class Fault(StrEnum):
    """What can be made to go wrong with one order. `[=x]` is the marker's optional value."""

    ACCEPT_THEN_SILENCE = "accept_then_silence"
    """[=seconds] The first create is accepted, not answered: its line is held, then closed."""
    ACCEPT_THEN_CLOSE = "accept_then_close"
    """The first create is accepted and the connection closed at once, without an answer."""
    ACCEPT_THEN_500 = "accept_then_500"
    """The first create is accepted and answered with HTTP 500."""
    ACCEPT_THEN_RUBBISH = "accept_then_rubbish"
    """The first create is accepted and answered with HTTP 200 and a page of HTML."""
    DROP_BEFORE_ACCEPTING = "drop_before_accepting"
    """The first create is dropped: connection closed, no order. The next one is accepted."""
    REFUSE = "refuse"
    """[=code] Every create is answered with a code other than 1, and there is no order."""
    FAIL = "fail"
    """The order ends with status 6."""
    NO_CALLBACK = "no_callback"
    """No callback is ever sent."""
    DUPLICATE_CALLBACK = "duplicate_callback"
    """[=count] The same callback is sent several times at the same moment."""
    LATE_CALLBACK = "late_callback"
    """[=seconds] The callback waits until a query has shown the end, but no longer than this."""
    OUT_OF_ORDER_CALLBACK = "out_of_order_callback"
    """A callback with status 1 follows the one with status 7."""
    HIDDEN = "hidden"
    """[=seconds] queryTransaction does not find the order for some seconds after its creation."""
    WRONG_RESPONSE_SIGNATURE = "wrong_response_signature"
    """[=count] The first answers about the order (create, then queries) are signed wrongly."""
    WRONG_CALLBACK_SIGNATURE = "wrong_callback_signature"
    """[=count] The first callbacks bear a wrong signature; retries then bear the right one."""
    SLOW = "slow"
    """[=seconds] Every create is processed at once and answered late."""
    DOWN = "down"
    """[=seconds] The first create finds the gateway going down: no order, connections refused."""
    CONTRADICT = "contradict"
    """Paid, with a callback of status 7; a later callback says 6. Queries go on saying 7."""
    WRONG_AMOUNT_CALLBACK = "wrong_amount_callback"
    """Callbacks, rightly signed, name an amount one unit too high."""
    FEE_KEPT = "fee_kept"
    """The order ends with status 20."""
    CANCELLED = "cancelled"
    """The order ends with status 5."""
    CLOSED = "closed"
    """The order ends with status 8."""
    PENDING = "pending"
    """[=seconds] Status 19 for a while, then 7."""
    EXCEPTION = "exception"
    """[=seconds] Status 11 for a while, then 7."""


FaultPlan = dict[Fault, float]
"""The faults of one order with their values."""


def plan_from_text(text: str, defaults: Mapping[Fault, float] = MappingProxyType({})) -> FaultPlan:
    """Find all markers in a remark; raises ValueError for one that names no fault.

    A marker without a value gets the fault's default, or 1.
    """
    plan = FaultPlan()
    for match in _MARKER.finditer(text):
        try:
            fault = Fault(match[1])
            plan[fault] = float(match[2]) if match[2] else defaults.get(fault, 1.0)
        except ValueError as error:
            raise ValueError(f"no such sandbox fault: {match[0]}") from error
    return plan


def chance(*key: object) -> float:
    """Draw from [0, 1) by the key alone: a drill repeats exactly, however threads interleave."""
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


class GlobalFaults(BaseModel):
    """The faults for all orders, set at run time through /_faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: dict[str, float] = {}
    """Share of orders per marker (without `sandbox:`); a marker in the remark goes before."""
    seed: int = 0
    latency_seconds: float = 0.0
    """Every call is answered this much later."""
    query_hidden_seconds: float = 0.0
    """Every new order is hidden from queries for so long."""
    lose_answers: float = 0.0
    """Share of answers, of every call, that are lost after the work was done."""

    @field_validator("rates")
    @classmethod
    def _name_faults(cls, rates: dict[str, float]) -> dict[str, float]:
        for marker in rates:
            if not plan_from_text(f"sandbox:{marker}"):
                raise ValueError(f"no such sandbox fault: {marker}")
        return rates

    def draw(self, merchant_order_no: str) -> str:
        """Choose the marker of an order that has none; the same for each arrival of the order."""
        point = chance(self.seed, merchant_order_no)
        for marker, rate in self.rates.items():
            if point < rate:
                return f"sandbox:{marker}"
            point -= rate
        return ""
