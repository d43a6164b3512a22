"""A send guard for tests that are not about it."""

from __future__ import annotations

from datetime import timedelta

from shared.domain.gateway import OrderAnswer
from shared.domain.payout import PayoutState
from worker.send_guard.guard import SendGuard
from worker.send_guard.permit import CheckResult, Permit


class AllowAll(SendGuard, Permit):
    """A send guard and a permit in one, without any restriction."""

    def __init__(self) -> None:
        pass

    def check(self, payout: PayoutState, *, max_wait: timedelta) -> CheckResult:
        return self

    def recover_permit(self, payout: PayoutState) -> Permit:
        return self

    def confirm(self) -> str | None:
        return None

    def record(self, answer: OrderAnswer) -> None:
        pass

    def release(self) -> None:
        pass
