"""Whether EPAY accepts our key, for `payouts doctor`: by queries, which change nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from pydantic import SecretStr

from ops.finding import FAIL, OK, WARN, Finding
from shared.config.accounts import account_settings
from shared.config.builders import build_epay_config
from shared.config.settings import Settings, SettingsError
from shared.domain.absence_proof import Control, describe_refusal, judge_control
from shared.domain.gateway import NeverSent, OrderAnswer, OutcomeUnknown, Refused, Report
from shared.domain.payout import PayoutState
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig

_BROKEN_KEY = SecretStr("payouts-doctor: wrong on purpose")
_PROVEN = "answers, authentication OK"
_CAUSES = (
    "EPAY_API_KEY or EPAY_ACCOUNT is wrong, or EPAY does not allow the address of this machine (IP"
    " allow-list)"
)

FindControl = Callable[[Settings], PayoutState | None]
"""The order of an account that EPAY must know (law 12), or None."""


def check_gateways(settings: Settings, find_control: FindControl) -> list[Finding]:
    """Check each account; those that are wrongly configured are left out."""
    try:
        every = account_settings(settings)
    except SettingsError:
        return []
    found = []
    for one in every:
        what = f"gateway of {one.epay_account}" if len(every) > 1 else "gateway"
        try:
            config = build_epay_config(one)
        except SettingsError:
            continue
        found += [Finding(what, *words) for words in _check(one, config, find_control(one))]
    return found


def _check(
    settings: Settings, config: EpayConfig, known: PayoutState | None
) -> list[tuple[str, str]]:
    """Query an order that does not exist, with our key and with a wrong one, and the control."""
    made_up = f"payouts-doctor-{secrets.token_hex(6)}"
    own = _ask(config, made_up)
    if isinstance(own, NeverSent | OutcomeUnknown):
        return [(f"no usable answer: {own.reason}", FAIL)]
    broken = _ask(replace(config, api_key=_BROKEN_KEY), made_up)
    shown = None if known is None else _ask(config, known.merchant_order_no)
    control = judge_control(known, shown)
    if known and control is Control.REFUSED and isinstance(shown, Report | Refused):
        judged = (f"{describe_refusal(known, shown)}. {_CAUSES}", FAIL)
    elif isinstance(broken, Refused):
        judged = _judge(settings, own, broken, known if control is Control.PASSED else None)
    else:
        got = "an order" if isinstance(broken, Report) else f"no usable answer ({broken.reason})"
        judged = (f"the key is not proven: a signature that is wrong on purpose gets {got}", WARN)
    return [judged, *_judge_lists(settings, broken)]


def _ask(config: EpayConfig, order_no: str) -> OrderAnswer:
    client = EpayClient(config)
    try:
        return client.query(order_no)
    finally:
        client.close()


def _judge(
    settings: Settings, own: Report | Refused, broken: Refused, control: PayoutState | None
) -> tuple[str, str]:
    """What the answers to both signatures prove, if EPAY shows `control` to ours; None: not asked.

    Another code for ours proves no key by itself: it may be a refusal of the account, the address
    or the rate.
    """
    if isinstance(own, Report):
        return f"{_PROVEN}. It shows an order under a number that was made up: ask EPAY", WARN
    shows = f"{_PROVEN}: it shows {control.merchant_order_no}" if control else _PROVEN
    if own.code == broken.code:
        if control is not None:
            same = f"An unknown order and a wrong signature get the same code, {own.code}"
            return f"{shows}. {same}: only law 12 tells them apart", WARN
        words = (
            f"the key is not proven: code {own.code} answers our signature ({own.message}) and one"
            f" that is wrong on purpose ({broken.message}). {_CAUSES}, or EPAY has one code for"
            " this and for an unknown order. Do not add this code to EPAY_NOT_FOUND_CODES"
        )
        return words, FAIL
    answers = (
        f"A made-up order number gets code {own.code} ({own.message}), and a signature that is"
        f" wrong on purpose code {broken.code}"
    )
    if own.code in settings.epay_not_found_codes:
        nested = (
            "A query holds no nested value: the first payout shows whether"
            f" EPAY_SIGN_NESTED={settings.epay_sign_nested} is right"
        )
        return f"{shows}. {answers}. {nested}", OK
    mark = FAIL if settings.epay_not_found_codes else WARN
    if control is not None:
        means = "If EPAY confirms that it means `no such order`, add it to EPAY_NOT_FOUND_CODES"
        return f"{shows}. {answers}. {means}", mark
    words = (
        f"the key is not proven: EPAY judges the signatures differently. {answers}. Ask EPAY what"
        f" code {own.code} means: it may refuse the account, the address of this machine (IP"
        " allow-list) or the rate. Only if it means `no such order`, add it to"
        " EPAY_NOT_FOUND_CODES: then the key is proven"
    )
    return words, mark


def _judge_lists(settings: Settings, broken: OrderAnswer) -> list[tuple[str, str]]:
    """A wrong signature must not be answered with a code that judges payouts."""
    if not isinstance(broken, Refused):
        return []
    words = f"a wrong signature gets code {broken.code}, which is in "
    if broken.code in settings.epay_refused_codes:
        words += "EPAY_REFUSED_CODES: remove it, or a wrong key ends payouts as rejected"
        return [(words, FAIL)]
    if broken.code in settings.epay_duplicate_codes:
        return [(f"{words}EPAY_DUPLICATE_CODES: remove it", FAIL)]
    if broken.code in settings.epay_not_found_codes:
        words += "EPAY_NOT_FOUND_CODES: only law 12 tells a wrong key from an unknown order"
        return [(words, WARN)]
    return []
