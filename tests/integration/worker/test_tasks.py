"""The thin tasks: what becomes of a message when its body does not come through."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Reject

from tests.integration.conftest import ACCOUNT, API_KEY
from tests.support.factories import request_kwargs
from worker.database_retry import DatabaseUnavailable


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task module, on an app that talks to nobody; `sent` is what it would have published."""
    settings = {
        "DATABASE_URL": "postgresql://u@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "EPAY_BASE_URL": "http://127.0.0.1:1/capi/openapi",
        "EPAY_ACCOUNT": ACCOUNT,
        "EPAY_API_KEY": API_KEY,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    from worker import tasks as module

    context = SimpleNamespace(database_retry=SimpleNamespace(run=lambda body: body()))
    monkeypatch.setattr(module, "runtime", lambda: SimpleNamespace(context=context))
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        module.app, "send_task", lambda *args, **kwargs: sent.append((args, kwargs))
    )
    return SimpleNamespace(module=module, sent=sent, context=context)


def failing(error: Exception) -> Any:
    def body(*_: object, **__: object) -> None:
        raise error

    return body


def test_an_unforeseen_failure_parks_the_request(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one message that must not be lost is put aside for a person; the error is told."""
    monkeypatch.setattr(tasks.module, "request", failing(KeyError("bug")))
    with pytest.raises(KeyError):
        tasks.module.request_task(**request_kwargs())
    assert tasks.sent == [(("payouts.request", (), request_kwargs()), {"queue": "payouts.parked"})]


def test_positional_arguments_are_told_as_what_they_are(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is all kwargs; args make it invalid instead of being dropped."""
    seen: list[Any] = []
    monkeypatch.setattr(tasks.module, "request", lambda _ctx, kwargs, *_: seen.append(kwargs))
    tasks.module.request_task("order-1", amount="1")
    assert seen == [{"amount": "1", "positional_arguments": 1}]


@pytest.mark.parametrize(
    ("task", "body", "kwargs"),
    [
        ("request_task", "request", request_kwargs()),
        ("submit_task", "submit", {"payout_id": 1}),
        ("query_task", "query", {"payout_ids": [1], "lease": "2026-01-01T00:00:00+00:00"}),
        ("callback_task", "callback", {"verified": True, "merchant_order_no": "o"}),
        ("sweep_task", "sweep", {}),
        ("notify_task", "notify", {}),
        ("books_task", "reconcile_day", {}),
    ],
)
def test_with_postgresql_away_a_message_is_given_back(
    tasks: Any, monkeypatch: pytest.MonkeyPatch, task: str, body: str, kwargs: dict[str, Any]
) -> None:
    """Every task rejects with requeue when the max_wait is over; nothing is parked."""
    monkeypatch.setattr(tasks.module, body, failing(DatabaseUnavailable()))
    with pytest.raises(Reject) as rejected:
        getattr(tasks.module, task)(**kwargs)
    assert rejected.value.requeue is True
    assert tasks.sent == []
