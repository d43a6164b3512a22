"""The database and EPAY as the commands reach them, with errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.errors import UserError, unreadable
from ops.resolution.service import Desk
from shared.config.settings import Settings
from shared.epay.client import EpayClient
from shared.storage.engine import make_engine
from shared.storage.payout_store import Store
from shared.storage.story import Story, events_of, stories


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """An engine for one command.

    Raises:
        SettingsError: DATABASE_URL is missing.
        UserError: what is done with it fails for a reason of the database's.
    """
    settings.need("database_url")
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        yield engine
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    finally:
        engine.dispose()


@contextmanager
def desk(settings: Settings, engine: Engine) -> Iterator[Desk]:
    """Where a person acts on payouts.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
    """
    client = EpayClient(settings.epay())
    try:
        yield Desk(
            store=Store(engine, settings.vault()),
            ask=client.query,
            journal=lambda payout_id: events_of(engine, payout_id),
            account=settings.epay_account,
            policy=settings.policy(),
            second_person=settings.resolve_second_person,
        )
    finally:
        client.close()


def find(
    settings: Settings, engine: Engine, merchant_order_no: str, epay_account: str | None
) -> list[Story]:
    """The payouts of an order number, one for each EPAY account that has it.

    Raises:
        UserError: there is none.
    """
    found = stories(engine, settings.vault(), merchant_order_no, epay_account)
    if not found:
        raise UserError(
            f"there is no payout {merchant_order_no}. If it was just asked for, it may still wait"
            " in the queue; if it was refused as invalid, the asking app was told."
        )
    return found
