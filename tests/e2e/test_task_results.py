"""With CELERY_RESULT_BACKEND: what the task `payouts.request` returns to who waits for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from tests.support.factories import request_kwargs
from tests.support.servers import RedisServer
from tests.support.service import Service


@pytest.fixture(scope="module")
def service(make_service: Any, redis_server: RedisServer) -> Service:
    """Worker and webhook; results in the broker's own Redis."""
    running: Service = make_service({"CELERY_RESULT_BACKEND": redis_server.url})
    running.start_webhook()
    running.start_worker()
    return running


@pytest.fixture(scope="module")
def app(service: Service) -> Any:
    """A requesting app that reads results."""
    made = Celery(
        "asker", broker=service.redis_url, backend=service.redis_url, set_as_current=False
    )
    yield made
    made.close()


def _ask(app: Celery, order_no: str, **changes: Any) -> AsyncResult[Any]:
    return app.send_task(
        "payouts.request", kwargs=request_kwargs(order_no) | changes, queue="payouts"
    )


def test_five_at_once_and_once_more(service: Service, app: Celery) -> None:
    """Five answers, one of them for the one that made the payout; later the answer is the end."""
    results = [_ask(app, "five-1") for _ in range(5)]
    answers = [result.get(timeout=60) for result in results]
    assert all(set(answer) == {"merchant_order_no", "status", "duplicate"} for answer in answers)
    assert {answer["merchant_order_no"] for answer in answers} == {"five-1"}
    assert Counter(answer["duplicate"] for answer in answers) == {False: 1, True: 4}
    assert {answer["status"] for answer in answers} <= {"submitting", "processing", "succeeded"}
    service.wait_for_status("five-1", "succeeded")
    assert _ask(app, "five-1").get(timeout=60) == {
        "merchant_order_no": "five-1",
        "status": "succeeded",
        "duplicate": True,
    }
    assert len(service.sql("SELECT 1 FROM payout WHERE merchant_order_no = 'five-1'")) == 1
    assert service.ledger_of("five-1")["creates_received"] == 1


def test_conflict_and_invalid_are_results_too(service: Service, app: Celery) -> None:
    """Both say what is wrong, neither is an exception, and neither repeats a value."""
    _ask(app, "wrong-1").get(timeout=60)
    conflict = _ask(app, "wrong-1", account_no="U999").get(timeout=60)
    assert (conflict["status"], conflict["error"]["field"]) == ("conflict", "account_no")
    invalid = _ask(app, "wrong-2", amount="10,50").get(timeout=60)
    assert (invalid["status"], invalid["error"]["code"]) == ("invalid", "invalid_amount")
    assert "10,50" not in str(invalid)
    assert "U999" not in str(conflict)
