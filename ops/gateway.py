"""EPAY, and the service that decides on its answers, for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from ops.errors import Forbidden
from ops.resolution.actions import NotAllowed
from ops.resolution.service import ResolutionService
from shared.clock import utcnow
from shared.config.builders import build_cipher, build_epay_config, build_policy
from shared.config.settings import Settings
from shared.epay.client import EpayClient
from shared.storage import deployment
from shared.storage.payout_store import PayoutStore
from shared.storage.queries import events_of


@contextmanager
def gateway(settings: Settings) -> Iterator[EpayClient]:
    """A client of the gateway.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
    """
    client = EpayClient(build_epay_config(settings))
    try:
        yield client
    finally:
        client.close()


@contextmanager
def resolution_service(
    settings: Settings, engine: Engine, refused: str
) -> Iterator[ResolutionService]:
    """The actions of people on payouts.

    Args:
        refused: begins the error's text, for example "reject is refused".

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
        Forbidden: a rule forbids the action.
    """
    with gateway(settings) as client:
        try:
            yield ResolutionService(
                store=PayoutStore(engine, build_cipher(settings)),
                ask=client.query,
                journal=lambda payout_id: events_of(engine, payout_id),
                account=settings.epay_account,
                policy=build_policy(settings),
                needs_approval=settings.resolve_second_person,
                is_forgetful=lambda: deployment.may_have_forgotten(engine, utcnow()),
            )
        except NotAllowed as error:
            raise Forbidden(f"{refused}: {error}") from error
