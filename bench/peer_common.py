"""The durable job written the usual way: a row, the request, what came of it; an ORM Session each.

The same promise as ours, as far as one payout's send goes: the intent is committed before the
request, each change has a row in an event table, request and answer are signed and checked.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Numeric, UniqueConstraint, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from bench.bare_celery import CONCURRENCY, URL
from bench.http_session import pooled_session
from bench.payloads import ACCOUNT, API_KEY, CREATE, HEADERS, NESTED, create_param, signed_body
from shared.contract import PayoutRequest
from shared.epay.signing import verify

_POOL_SIZE = 10


class Base(DeclarativeBase):
    """The peer's own tables."""


class Payout(Base):
    """One payout."""

    __tablename__ = "peer_payout"
    __table_args__ = (UniqueConstraint("epay_account", "merchant_order_no"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    epay_account: Mapped[str]
    merchant_order_no: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    currency: Mapped[str]
    channel_code: Mapped[str]
    account_no: Mapped[str]
    remark: Mapped[str | None]
    status: Mapped[str] = mapped_column(index=True)
    claim_id: Mapped[str | None]
    epay_order_no: Mapped[str | None]
    epay_status: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class PayoutEvent(Base):
    """One entry of its journal."""

    __tablename__ = "peer_payout_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    payout_id: Mapped[int] = mapped_column(ForeignKey(Payout.id), index=True)
    kind: Mapped[str]
    at: Mapped[datetime]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)


_url = os.environ.get("DATABASE_URL", "postgresql://")
_engine = create_engine(
    make_url(_url).set(drivername="postgresql+psycopg"), pool_size=_POOL_SIZE, max_overflow=0
)
_sessions = sessionmaker(_engine)
_http = pooled_session(CONCURRENCY)


def create_tables() -> None:
    """Make the peer's tables."""
    Base.metadata.create_all(_engine)


def recorded() -> int:
    """How many payouts have an answer on record."""
    with _sessions() as session:
        done = select(func.count()).select_from(Payout).where(Payout.status == "processing")
        return session.scalar(done) or 0


def pay(asked: dict[str, Any]) -> None:
    """The job: insert, mark as being sent, send, record."""
    wanted = PayoutRequest.model_validate(asked)
    with _sessions.begin() as session:
        payout_id = _insert(session, wanted)
    with _sessions.begin() as session:
        _mark_as_sent(session, payout_id)
    body = signed_body(create_param(wanted.merchant_order_no))
    response = _http.post(URL + CREATE, data=body, headers=HEADERS, timeout=(3, 20))
    response.raise_for_status()
    envelope = response.json()
    if not verify(envelope["data"], envelope["sign"], [API_KEY], NESTED):
        raise ValueError("the answer bears a wrong signature")
    with _sessions.begin() as session:
        _record(session, payout_id, envelope["data"])


def _insert(session: Session, wanted: PayoutRequest) -> int:
    now = _now()
    payout = Payout(
        epay_account=ACCOUNT,
        merchant_order_no=wanted.merchant_order_no,
        amount=Decimal(wanted.amount),
        currency=wanted.currency,
        channel_code=wanted.channel_code,
        account_no=wanted.account_no,
        remark=wanted.remark,
        status="queued",
        created_at=now,
        updated_at=now,
    )
    session.add(payout)
    session.flush()
    session.add(PayoutEvent(payout_id=payout.id, kind="accepted", at=now, detail={}))
    return payout.id


def _mark_as_sent(session: Session, payout_id: int) -> None:
    payout = session.get_one(Payout, payout_id, with_for_update=True)
    payout.status = "submitting"
    payout.claim_id = uuid.uuid4().hex
    payout.sent_at = payout.updated_at = _now()
    session.add(PayoutEvent(payout_id=payout_id, kind="sent", at=payout.updated_at, detail={}))


def _record(session: Session, payout_id: int, data: dict[str, Any]) -> None:
    payout = session.get_one(Payout, payout_id, with_for_update=True)
    payout.status = "processing"
    payout.epay_order_no = data["epayOrderNo"]
    payout.epay_status = data["status"]
    payout.updated_at = _now()
    detail = {"status": data["status"], "epay_order_no": data["epayOrderNo"]}
    session.add(
        PayoutEvent(payout_id=payout_id, kind="answer", at=payout.updated_at, detail=detail)
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
