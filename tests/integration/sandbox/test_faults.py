"""Faults that strike the answer to a create or a query."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from sandbox.faults import Fault, chance, plan_from_text
from tests.support.sandbox import Merchant, until

LOST = (requests.ConnectionError, requests.Timeout)


@pytest.mark.parametrize("fault", ["accept_then_silence", "accept_then_close"])
def test_accepted_without_an_answer(merchant: Merchant, fault: str) -> None:
    """The order exists and is paid although the create was never answered."""
    with pytest.raises(LOST):
        merchant.create("A1", fault)
    until(lambda: merchant.status("A1") == "7")
    assert merchant.create("A1", fault)["code"] == 2004
    row = merchant.ledger("A1")
    assert (row["payments"], row["fault"]) == (1, fault)


def test_silence_ends_when_the_client_gives_up(start: Any) -> None:
    """A connection held in silence is let go as soon as its client hangs up."""
    merchant = start(silence_seconds=600)
    with requests.Session() as session, pytest.raises(requests.Timeout):
        Merchant(merchant.gateway, session, timeout=(60, 0.1)).create("A1", "accept_then_silence")
    until(lambda: merchant.gateway._http.connection_count == 0)
    until(lambda: merchant.status("A1") == "7")


def test_accepted_with_http_500(merchant: Merchant) -> None:
    """The order exists although the create was answered with HTTP 500."""
    response = merchant.call("createEwalletTransaction", merchant.param("A1", "accept_then_500"))
    assert response.status_code == 500
    until(lambda: merchant.ledger("A1")["payments"] == 1)


def test_accepted_with_rubbish(merchant: Merchant) -> None:
    """The order exists although the create was answered with a page of HTML."""
    param = merchant.param("A1", "accept_then_rubbish")
    response = merchant.call("createEwalletTransaction", param)
    assert response.status_code == 200
    assert response.text.startswith("<html>")
    until(lambda: merchant.ledger("A1")["payments"] == 1)


def test_dropped_before_accepting(merchant: Merchant) -> None:
    """The first create is lost and makes no order; the second is accepted."""
    with pytest.raises(LOST):
        merchant.create("A1", "drop_before_accepting")
    assert merchant.query("A1")["code"] == 2001
    row = merchant.ledger("A1")
    assert (row["creates_received"], row["creates_accepted"], row["status"]) == (1, 0, None)
    assert merchant.create("A1", "drop_before_accepting")["code"] == 1


@pytest.mark.parametrize(
    ("marker", "code"), [("refuse", 2005), ("refuse=77", 77), ("refuse:78", 78)]
)
def test_refused(merchant: Merchant, marker: str, code: int) -> None:
    """Every create is refused, with the code that the marker names, and there is no order."""
    assert [merchant.create("A1", marker)["code"] for _ in range(2)] == [code, code]
    assert merchant.query("A1")["code"] == 2001
    assert merchant.ledger("A1")["creates_received"] == 2


@pytest.mark.parametrize(
    ("fault", "status"), [("fail", "6"), ("cancelled", "5"), ("closed", "8"), ("fee_kept", "20")]
)
def test_other_ends(merchant: Merchant, fault: str, status: str) -> None:
    """The order ends unpaid with the fault's own status."""
    merchant.create("A1", fault)
    until(lambda: merchant.status("A1") == status)
    assert merchant.ledger("A1")["payments"] == 0


@pytest.mark.parametrize(("fault", "status"), [("pending", "19"), ("exception", "11")])
def test_detours(start: Any, fault: str, status: str) -> None:
    """The order stays at 19 or 11 for a while and is paid in the end."""
    merchant = start(pending_seconds=600)
    merchant.create("A1", fault)
    until(lambda: merchant.status("A1") == status)
    merchant.create("A2", f"{fault}=0.1")
    until(lambda: merchant.status("A2") == "7")
    assert merchant.status("A1") == status
    assert [merchant.ledger(no)["payments"] for no in ("A1", "A2")] == [0, 1]


def test_hidden_from_queries(start: Any) -> None:
    """An accepted order is not found at first, and found later."""
    merchant = start(hidden_seconds=600)
    for no, fault in (("A1", "hidden"), ("A2", "hidden=0.3")):
        assert merchant.create(no, fault)["code"] == 1
    until(lambda: merchant.query("A2")["code"] == 1)
    assert merchant.query("A1")["code"] == 2001


def test_wrong_response_signature(merchant: Merchant) -> None:
    """The create's answer bears a wrong signature, the query's a right one."""
    assert not merchant.signed_rightly(merchant.create("A1", "wrong_response_signature"))
    assert merchant.signed_rightly(merchant.query("A1"))


def test_slow_answer(merchant: Merchant) -> None:
    """The order is accepted at once and answered late."""
    began = time.monotonic()
    assert merchant.create("A1", "slow")["data"]["status"] == "1"
    assert time.monotonic() - began >= 0.3
    until(lambda: merchant.status("A1") == "7")


def test_markers_combine(merchant: Merchant) -> None:
    """Several markers in one remark are all obeyed."""
    merchant.create("A1", "hidden=600 and sandbox:fail")
    until(lambda: merchant.ledger("A1")["status"] == "6")
    assert merchant.query("A1")["code"] == 2001
    assert merchant.ledger("A1")["fault"] == "hidden+fail"


def test_global_rates_repeat_by_seed(merchant: Merchant) -> None:
    """Faults by rate strike the orders that the seed chooses, and the marker goes before."""
    merchant.gateway.set_faults(rates={"fail": 0.5}, seed=3)
    numbers = [f"R{n}" for n in range(20)]
    for no in numbers:
        merchant.create(no)
    failing = {no for no in numbers if chance(3, no) < 0.5}
    assert 0 < len(failing) < 20
    assert {no for no in numbers if merchant.ledger(no)["fault"] == "fail"} == failing
    merchant.create("R20", "no_callback")
    assert merchant.ledger("R20")["fault"] == "no_callback"


def test_global_faults_over_http(merchant: Merchant) -> None:
    """POST merges faults in, DELETE clears them, and an unknown one is a bad request."""
    url, session = f"{merchant.gateway.root_url}/_faults", merchant.session
    session.post(url, json={"query_hidden_seconds": 600}, timeout=60)
    faults = session.post(url, json={"latency_seconds": 0.1}, timeout=60).json()
    assert (faults["query_hidden_seconds"], faults["latency_seconds"]) == (600, 0.1)
    merchant.create("A1")
    began = time.monotonic()
    assert merchant.query("A1")["code"] == 2001
    assert time.monotonic() - began >= 0.1
    assert session.delete(url, timeout=60).json()["latency_seconds"] == 0
    for bad in ({"nonsense": 1}, {"rates": {"nonsense": 1}}, {"rates": 3}, {"mode": "x"}, []):
        assert session.post(url, json=bad, timeout=60).status_code == 400


def test_lost_answers(merchant: Merchant) -> None:
    """With lose_answers=1 the work is done and no call is answered."""
    merchant.gateway.set_faults(lose_answers=1)
    with pytest.raises(LOST):
        merchant.create("A1")
    with pytest.raises(LOST):
        merchant.query("A1")
    merchant.gateway.clear_faults()
    row = merchant.ledger("A1")
    assert (row["creates_accepted"], row["queries"]) == (1, 1)


def test_every_fault_has_its_marker() -> None:
    """Each fault can be named in a remark, with and without a value."""
    for fault in Fault:
        assert plan_from_text(f"x sandbox:{fault}=2.5 y")[fault] == 2.5
        assert fault in plan_from_text(f"sandbox:{fault}")
