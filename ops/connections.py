"""The database and EPAY as the commands reach them, with errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ops.errors import UserError, unreadable
from ops.resolution.service import ResolutionService
from shared.config.builders import build_cipher, build_epay_config, build_policy
from shared.config.settings import Settings
from shared.epay.client import EpayClient
from shared.storage.engine import make_engine
from shared.storage.payout_store import PayoutStore
from shared.storage.queries import PayoutDetail, events_of, find_details


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
def resolution_service(settings: Settings, engine: Engine) -> Iterator[ResolutionService]:
    """Where a person acts on payouts.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
    """
    client = EpayClient(build_epay_config(settings))
    try:
        yield ResolutionService(
            store=PayoutStore(engine, build_cipher(settings)),
            ask=client.query,
            journal=lambda payout_id: events_of(engine, payout_id),
            account=settings.epay_account,
            policy=build_policy(settings),
            needs_approval=settings.resolve_second_person,
        )
    finally:
        client.close()


def find(
    settings: Settings, engine: Engine, merchant_order_no: str, epay_account: str | None
) -> list[PayoutDetail]:
    """The payouts of an order number, one for each EPAY account that has it.

    Raises:
        UserError: there is none.
    """
    found = find_details(engine, build_cipher(settings), merchant_order_no, epay_account)
    if not found:
        raise UserError(
            f"there is no payout {merchant_order_no}. If it was just asked for, it may still wait"
            " in the queue; if it was refused as invalid, the asking app was told."
        )
    return found
