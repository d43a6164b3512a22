"""The arithmetic of the benchmarks, and what their load sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench import payloads, report
from bench.drain import Sample, pace
from bench.interleave import Section, in_turn
from bench.memory import growth
from bench.ratios import Criterion, judge, medians
from shared.domain.gateway import CreateOrder, OutcomeUnknown
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

    def post(path: str, body: bytes, **_: object) -> OutcomeUnknown:
        sent.append(body)
        return OutcomeUnknown(path)

    monkeypatch.setattr(client._transport, "post", post)
    client.create(CreateOrder(**payloads.request_kwargs("bench-3")))

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
