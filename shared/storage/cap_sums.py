"""What was sent in the last 24 hours by account and currency, for CAP_PER_DAY."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from shared.domain.accounts import account_key
from shared.domain.cap_usage import start_of_hour
from shared.domain.payout import PayoutState
from shared.storage.statements import FORGET_SUMS, SENT_SINCE, SUM_HOURS


class CapSums:
    """Reads the sums by the hour, and makes them anew once an hour and process.

    They miss what was sent while no cap was set.
    """

    def __init__(self) -> None:
        self._summed: dict[tuple[str, str], datetime] = {}
        """Account and currency -> the hour in which this process last summed up their hours."""

    def sent_since(self, connection: Connection, payout: PayoutState, since: datetime) -> Decimal:
        """What was sent in the payout's account and currency; the caller holds the cap's lock."""
        of = {"epay_account": account_key(payout.epay_account), "currency": payout.currency}
        hour = start_of_hour(since)
        if self._summed.get((of["epay_account"], payout.currency)) != hour:
            connection.execute(FORGET_SUMS, of)
            connection.execute(SUM_HOURS, {**of, "since": hour})
        values = {**of, "since": since, "next_hour": hour + timedelta(hours=1)}
        return Decimal(connection.execute(SENT_SINCE, values).scalar_one())

    def note_commit(self, payout: PayoutState, since: datetime) -> None:
        """The sums that `sent_since` made are committed."""
        self._summed[account_key(payout.epay_account), payout.currency] = start_of_hour(since)
