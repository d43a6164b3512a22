"""EPAY, and the service that decides on its answers, for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from ops.errors import Forbidden
from ops.resolution.actions import NotAllowed
from ops.resolution.service import ResolutionService
from shared.clock import utcnow
from shared.config.accounts import account_settings, default_settings, one_settings
from shared.config.builders import (
    build_accounts,
    build_cipher,
    build_epay_config,
    build_policy,
    name_policy,
    settings_of,
)
from shared.config.settings import Settings
from shared.domain.payout import PayoutState
from shared.epay.client import EpayClient
from shared.storage import deployment
from shared.storage.pauses import RefusalPause
from shared.storage.payout_store import PayoutStore
from shared.storage.policy_record import describe_differences, policy_differences
from shared.storage.queries import events_of


@contextmanager
def gateway(settings: Settings) -> Iterator[EpayClient]:
    """A client of the gateway.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
    """
    client = EpayClient(build_epay_config(one_settings(settings)))
    try:
        yield client
    finally:
        client.close()


def require_policy_of_workers(settings: Settings, engine: Engine, refused: str) -> None:
    """Refuse an act of a person under other settings than those that the workers decide by.

    Args:
        refused: begins the error's text, for example "reject is refused".

    Raises:
        Forbidden: the settings differ.
    """
    if differing := policy_differences(engine, name_policy(settings)):
        raise Forbidden(
            f"{refused}: {describe_differences(differing)}. Run the command with the settings of"
            " the service."
        )


@contextmanager
def resolution_service(
    settings: Settings, engine: Engine, refused: str, payout: PayoutState
) -> Iterator[ResolutionService]:
    """The actions of people on payouts.

    Args:
        refused: begins the error's text, for example "reject is refused".
        payout: whose account is asked.

    Raises:
        SettingsError: a setting of the gateway is missing or unsafe.
        Forbidden: a rule forbids the action, or the workers decide by other settings.
    """
    require_policy_of_workers(settings, engine, refused)
    own = settings_of(settings, payout.epay_account, payout.epay_gateway)
    accounts = build_accounts(settings)
    settings = own or default_settings(settings) or account_settings(settings)[0]
    with gateway(settings) as client:
        try:
            yield ResolutionService(
                store=PayoutStore(engine, build_cipher(settings)),
                ask=client.query,
                journal=lambda payout_id: events_of(engine, payout_id),
                policy=build_policy(settings, accounts),
                refusal_pause=RefusalPause(engine, settings.epay_account),
                needs_approval=settings.resolve_second_person,
                is_forgetful=lambda: deployment.may_have_forgotten(engine, utcnow()),
            )
        except NotAllowed as error:
            raise Forbidden(f"{refused}: {error}") from error
