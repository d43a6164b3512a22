"""The hash over a payout's journal."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from shared.domain import hash_chain
from tests.support.factories import T0


def test_what_has_no_place_in_a_journal_is_refused() -> None:
    """No guess at a spelling: it could come back as another."""
    with pytest.raises(TypeError, match="a bytes cannot be hashed"):
        hash_chain.digest({"a": b"x"})


def test_the_seal_does_not_depend_on_the_order_of_keys() -> None:
    """JSONB gives keys back in its own order."""
    assert hash_chain.chain_hash("0", {"a": "ü", "b": 2}) == hash_chain.chain_hash(
        "0", {"b": 2, "a": "ü"}
    )
    assert hash_chain.chain_hash("0", {"a": 1}) != hash_chain.chain_hash("1", {"a": 1})


def test_the_seal_is_the_documented_one() -> None:
    """Anybody can check a journal with sha256 and JSON."""
    assert hash_chain.chain_hash("00", {"b": "ü", "a": None}) == (
        "140a65e8b8eca17892d0887b26ef620fc44bfc12051dcfc8f60aafafc4901a05"
    )


def test_equal_times_and_amounts_have_one_hash() -> None:
    """The database gives back other zones and other trailing zeros."""
    elsewhere = T0.astimezone(timezone(timedelta(hours=8)))
    one, other = {"a": Decimal("10.00"), "b": T0}, {"a": Decimal(10), "b": elsewhere}
    assert hash_chain.digest(one) == hash_chain.digest(other)


@pytest.mark.parametrize(
    "other", [{"a": Decimal("10.01")}, {"a": "10.00"}, {"b": Decimal(10)}, {}, {"a": None}]
)
def test_other_values_have_another_hash(other: dict[str, Decimal | str | None]) -> None:
    assert hash_chain.digest({"a": Decimal("10.00")}) != hash_chain.digest(other)


def test_times_count_to_the_microsecond() -> None:
    """A time without a fraction is written with six zeros."""
    later = datetime.fromisoformat("2026-01-05T12:00:00.000001+00:00")
    assert hash_chain.digest({"a": T0}) != hash_chain.digest({"a": later})
    text = "2026-01-05T12:00:00.000000+00:00"
    assert hash_chain.digest({"a": T0}) == hash_chain.digest({"a": text})
