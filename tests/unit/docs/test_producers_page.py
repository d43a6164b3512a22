"""The app of docs/producers.md: what it says of a payout after any messages (law 14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from shared.contract import Notify, PayoutRequest
from shared.domain import lifecycle, notifications, reports
from shared.domain.intake import conflict
from tests.support.durable_producers import code_with
from tests.support.factories import POLICY, SECOND, T0, make_payout, make_report, request_kwargs

NOTIFY = Notify(task="shop.payout_outcome", queue="shop", on=("accepted", "final"))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The code of the page, with one payout asked for."""
    monkeypatch.setenv("BROKER", "memory://")
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite"))
    code: dict[str, Any] = {"__name__": "shop"}
    exec(code_with("# shop.py"), code)
    db = code["database"]()
    with db:
        code["ask"](db, **request_kwargs("A-1"))
    db.close()
    yield code
    code["app"].close()


@pytest.fixture
def says(app: dict[str, Any]) -> Callable[..., tuple[Any, ...]]:
    """Give the app messages; what it then says of its payout."""

    def read(*messages: Any) -> tuple[Any, ...]:
        for kwargs in messages:
            app["payout_outcome"](**kwargs)
        db = app["database"]()
        (row,) = db.execute("SELECT status, refused, ask_at FROM payout_asked").fetchall()
        db.close()
        return tuple(row)

    return read


def receipt_and_end() -> tuple[Any, Any]:
    """What a payout's life tells the app."""
    payout = make_payout(notify=NOTIFY.model_dump(mode="json"))
    accepted = lifecycle.accept(payout, claim_id="c1", now=T0, policy=POLICY)
    ended = reports.on_callback(
        accepted.after, make_report("7"), now=T0 + SECOND, policy=POLICY, jitter=0.0
    )
    (receipt,), (end,) = map(notifications.messages_for, (accepted, ended))
    return receipt.kwargs, end.kwargs


def answer_to_another_request(*, valid: bool = True) -> Any:
    """The same number with another amount, after the end; or with one that is none."""
    error = conflict(["amount"])
    if not valid:
        kwargs = {"merchant_order_no": "A-1"}
        return notifications.messages_for_invalid(kwargs, NOTIFY, "shop", error, T0)[0].kwargs
    payout = make_payout(sequence=4)
    request = PayoutRequest(**request_kwargs("A-1", amount="11.00", notify=NOTIFY))
    return notifications.messages_for_conflict(payout, request, error, T0)[0].kwargs


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_end_stands_whatever_is_told_of_another_request(
    says: Callable[..., tuple[Any, ...]], order: tuple[int, ...], *, valid: bool
) -> None:
    """Receipt, end and the answer to another request, in every order."""
    messages = [*receipt_and_end(), answer_to_another_request(valid=valid)]
    status, refused, ask_at = says(*(messages[nth] for nth in order))
    assert (status, ask_at) == ("succeeded", None)
    assert "merchant_order_no stands for a payout with another amount" in refused


@pytest.mark.parametrize("valid", [True, False])
def test_a_refused_request_is_not_sent_again(
    says: Callable[..., tuple[Any, ...]], *, valid: bool
) -> None:
    """There is no payout, and asking again changes nothing."""
    status, refused, ask_at = says(answer_to_another_request(valid=valid))
    assert (status, ask_at) == (None, None)
    assert refused


def test_a_payout_that_has_not_ended_is_asked_about_after_a_conflict(
    says: Callable[..., tuple[Any, ...]],
) -> None:
    """The conflict does not end the request that stands."""
    status, refused, ask_at = says(receipt_and_end()[0], answer_to_another_request())
    assert status == "submitting"
    assert refused
    assert ask_at is not None
