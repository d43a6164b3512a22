"""The arithmetic of the benchmarks, and that their stub gateway speaks EPAY's protocol."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench import payloads, report
from bench.drain import Sample, pace
from bench.interleave import Section, in_turn
from bench.memory import growth
from bench.ratios import Criterion, judge, medians
from bench.stub_gateway import BASE_PATH, HOST, serve
from shared.domain.gateway import CreateOrder, OutcomeUnknown, Report
from shared.epay import callbacks
from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig

AT_LEAST = Criterion("a to b", "per_second", "a", "b", "at least", 0.8)
AT_MOST = Criterion("a to b", "per_second", "a", "b", "at most", 1.4)
ROUNDS = [
    {"a": {"per_second": 90.0}, "b": {"per_second": 100.0}},
    {"a": {"per_second": 75.0}, "b": {"per_second": 100.0}},
    {"a": {"per_second": 150.0}, "b": {"per_second": 100.0}},
]


def _order(order_no: str) -> CreateOrder:
    asked = payloads.request_kwargs(order_no)
    return CreateOrder(
        merchant_order_no=order_no,
        amount=asked["amount"],
        currency=asked["currency"],
        channel_code=asked["channel_code"],
        account_no=asked["account_no"],
        remark=asked["remark"],
    )


@pytest.fixture
def stub() -> Iterator[int]:
    """The port of a stub gateway that answers queries with 7."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(serve(0, 0.0, "7"))
    port: int = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()


@pytest.fixture
def client(stub: int) -> Iterator[EpayClient]:
    """Our own client, which demands signatures, before it."""
    made = EpayClient(
        EpayConfig(
            base_url=f"http://{HOST}:{stub}{BASE_PATH}",
            account=payloads.ACCOUNT,
            api_key=SecretStr(payloads.API_KEY),
            demand_response_signature=True,
        )
    )
    yield made
    made.close()


def test_stub_answers_as_our_client_wants_it(client: EpayClient) -> None:
    """An answer that did not verify would be unknown, and something else would be measured."""
    created = client.create(_order("bench-1"))
    queried = client.query("bench-1")

    for answer, status in ((created, "1"), (queried, "7")):
        assert isinstance(answer, Report), answer
        assert answer.status == status
        assert answer.merchant_order_no == "bench-1"
        assert answer.amount == Decimal(payloads.AMOUNT)
        assert answer.currency == payloads.CURRENCY


def test_signed_otherwise_is_unknown(client: EpayClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above sees a wrong signature."""
    monkeypatch.setattr("bench.stub_gateway.API_KEY", "ANOTHER")

    assert isinstance(client.query("bench-1"), OutcomeUnknown)


def test_stub_counts_what_it_answered_even_in_pieces(stub: int) -> None:
    """Two requests, the second cut anywhere, on one connection; then the count."""
    body = payloads.signed_body(payloads.create_param("bench-2")).encode()
    head = f"POST {BASE_PATH}{payloads.CREATE} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    with socket.create_connection((HOST, stub), timeout=60) as sock, sock.makefile("rb") as answers:
        sock.sendall(whole + whole[:50])
        first = _body(answers)
        sock.sendall(whole[50:])
        second = _body(answers)
        sock.sendall(b"GET /count HTTP/1.1\r\n\r\n")
        count = _body(answers)

    assert first == second
    assert json.loads(first)["data"]["merchantOrderNo"] == "bench-2"
    assert json.loads(count) == {"create": 2, "query": 0}


def _body(answers: object) -> bytes:
    length = 0
    while (line := answers.readline()) != b"\r\n":  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        if name == b"Content-Length":
            length = int(value)
    return answers.read(length)  # type: ignore[attr-defined,no-any-return]


def test_floor_and_ours_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What floor-submit posts is what our client makes of the same payout."""
    sent: list[bytes] = []
    client = EpayClient(
        EpayConfig(
            base_url="http://127.0.0.1:1/capi/openapi",
            account=payloads.ACCOUNT,
            api_key=SecretStr(payloads.API_KEY),
        )
    )

    def post(path: str, body: bytes) -> OutcomeUnknown:
        sent.append(body)
        return OutcomeUnknown(path)

    monkeypatch.setattr(client._transport, "post", post)
    client.create(_order("bench-3"))

    floor = payloads.signed_body(payloads.create_param("bench-3"))
    assert json.loads(sent[0]) == json.loads(floor)
    assert len(sent[0]) == len(floor)


def test_callbacks_of_the_load_are_signed_right() -> None:
    """Else the webhook would refuse them, and refusals be measured."""
    fields = dict(pair.split("=", 1) for pair in payloads.callback_form("bench-4").split("&"))
    decoded = {name: value.replace("%40", "@") for name, value in fields.items()}

    assert callbacks.verify(decoded, [payloads.API_KEY], payloads.NESTED)


@pytest.mark.parametrize(
    ("criterion", "worst", "holds"), [(AT_LEAST, 0.75, False), (AT_MOST, 1.5, False)]
)
def test_worst_round_counts(criterion: Criterion, worst: float, holds: bool) -> None:
    """The middle one is 0.9, which would do for both."""
    verdict = judge(criterion, ROUNDS)

    assert verdict is not None
    assert verdict.median == pytest.approx(0.9)
    assert verdict.worst == pytest.approx(worst)
    assert verdict.holds is holds


def test_criterion_of_what_was_not_measured_is_left_out() -> None:
    """A peer that is not installed fails nothing."""
    assert judge(AT_LEAST, [{"a": {"per_second": 1.0}}]) is None


def test_nothing_to_divide_by_is_an_error() -> None:
    """A floor that did nothing must not look like a success."""
    with pytest.raises(ValueError, match="nothing to divide by"):
        judge(AT_LEAST, [{"a": {"per_second": 1.0}, "b": {"per_second": 0.0}}])


def test_medians_are_of_each_figure() -> None:
    assert medians(ROUNDS) == {"a": {"per_second": 90.0}, "b": {"per_second": 100.0}}


def test_pace_leaves_out_start_and_end() -> None:
    """100 done: from 10 (at 5 s, after a slow start) to 95 (at 22 s)."""
    samples = [
        Sample(0.0, 0, {"worker": 0.0}),
        Sample(5.0, 10, {"worker": 1.0}),
        Sample(22.0, 95, {"worker": 1.17}),
        Sample(60.0, 100, {"worker": 9.0}),
    ]

    assert pace(samples, 100) == pytest.approx({"per_second": 5.0, "worker_ms": 2.0})


def test_variants_take_turns() -> None:
    """A B A B, so that a slow minute hits both."""
    order: list[str] = []

    def measure(name: str) -> dict[str, float]:
        order.append(name)
        return {"figure": float(len(order))}

    found = in_turn({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2, lambda line: None)

    assert order == ["a", "b", "a", "b"]
    assert found == [
        {"a": {"figure": 1.0}, "b": {"figure": 2.0}},
        {"a": {"figure": 3.0}, "b": {"figure": 4.0}},
    ]


def test_what_is_close_is_measured_twice_in_a_round() -> None:
    """The second time after all others, and the mean counts."""
    order: list[str] = []

    def measure(name: str) -> dict[str, float]:
        order.append(name)
        return {"figure": float(len(order))}

    variants = {name: (lambda name=name: measure(name)) for name in "abc"}
    found = in_turn(variants, 1, lambda line: None, again=("a", "b"))

    assert order == ["a", "b", "c", "a", "b"]
    assert found == [{"a": {"figure": 2.5}, "b": {"figure": 3.5}, "c": {"figure": 3.0}}]


def test_memory_is_at_its_most_after_the_warm_up() -> None:
    """A peak that went away again counts; what came before the warm-up's end does not."""
    mib = 1024 * 1024
    samples = [(0, 900 * mib), (5000, 100 * mib), (8000, 130 * mib), (9000, 110 * mib)]

    assert growth(samples, 5000) == pytest.approx(
        {"warm_mib": 100, "most_mib": 130, "last_mib": 110, "ratio": 1.3}
    )


def test_results_are_kept_beside_each_other_and_shown(tmp_path: Path) -> None:
    """A run of one experiment leaves the others' results; the page's own words stay."""
    section = Section("one", "One", "on this", {"per_second": "per second"}, ROUNDS, [AT_LEAST])
    data = report.as_data(section, {"cores": "2"}, "make bench")
    kept = tmp_path / "results/latest.json"
    report.merge(kept, {"other": data | {"title": "Other"}})
    results = report.merge(kept, {"one": data})
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{report.BEGIN}\nof last year\n{report.END}\nAfter.\n")
    report.update(page, results)

    text = page.read_text()
    assert json.loads(kept.read_text()) == results
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "last year" not in text
    assert "### Other" in text
    assert "### One" in text
    assert "| a to b | at least 0.8 | 0.90 | 0.75 | **does not hold** |" in text
    assert "cores 2" in text
