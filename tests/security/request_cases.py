"""Messages for `payouts.request` as hostile, unlucky and honest callers would send them.

FUZZ_SEED is the seed of all of them; with a case's number it makes that case again.
"""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.security.request_oracle import ACCOUNT, FIELDS

SEED = int(os.environ.get("FUZZ_SEED", "20261123"))

TEN_MEGABYTES = "9" * 10_000_000
UNPRINTABLE = [
    "\x00",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "\x7f",
    "\u200b",
    "\u202e",
    "\ud800",
    "\udfff",
]
NUMBERS = [0, 1, -1, 10, 2**63, 10**30, 1.5, 10.5, -0.0, 1e400, -1e400, float("nan"), 5e-324]
AMOUNTS = [
    "0", "0.0", "0.00", "-1", "-0.01", "+1", "00", "01.00", ".5", "5.", "1e2", "1E2", "1e-2",
    "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf", "1_000", "1,000.00", "1,5", " 1", "1 ",
    "1.005", "0.001", "10.999", "1.000", "1.10000", "0x10", "1.5.2", "\u0661\u0660",
    "\uff11\uff10", "10\u066b5",
    "²", "½",
    "9999999999999999.99", "10000000000000000", "9999999999999999.991", "0.01", "1" * 41, "1" * 400,
    "0." + "0" * 37 + "1", "1." + "0" * 38, "9" * 16 + "." + "0" * 23, "", "$10", "ten", "1\n",
    "--1",
]  # fmt: skip
ORDER_NOS = [
    "", " ", "a b", "a/b", "../a", "a\\b", "a\nb", "order-1\n", "\norder-1", "order\x00", "é",
    "a" * 64,
    "a" * 65, "a" * 5000, "%00", "a;b", "'; DROP TABLE payout; --", "<a>", "..", ".", "-", "_",
    "Ⅷ", "\uff11", "88001.0", "88001.", "1.5", "1E+2", "1.00E05", "12e5", "NULL", "n.a.", "1-Mar",
    "2026-03-01", "2026-13-01", "Mar-26", "true", "Okt-26", "1.3.2026", "31-12-2026", "2026-3-1",
    "WAHR", "12345678901234500000", "100000000000000", "12:30",
]  # fmt: skip
RUINED = [
    "4.1E+11",
    "7e09",
    "#N/A",
    "########",
    "'007",
    '="007"',
    "88001.0",
    "01.03.2026",
    "3-12-2026",
    "01-Mai",
    "12:30",
    "12%",
    "VRAI",
    "4111111111111110000",
    "123.456",
    "NULL",
    "nan",
    "-",
    "U1;U2",
    "U1,U2",
    "U1 / U2",
    "U1 U2",
    "U1|U2",
    "\u0420100",
    "U\u0661",
    "U1+0.003",
    "a+1@b.c",
    "N/A",
    "<NA>",
    "(none)",
    "1-Mar",
    "O'Brien@x.com",
    "=x@y.z",
]
CURRENCIES = [
    "usd",
    "Usd",
    "US",
    "USDTERC20",
    "USDTERC2",
    "USDT",
    "U$D",
    "USD ",
    "USD\n",
    "\uff35\uff33\uff24",
    "",
    "840",
]
CHANNELS = ["", "11 ", "1/1", "a" * 32, "a" * 33, "é", "11\n", "\u0663", "PM_1", "-"]
TEXTS = [
    "",
    " ",
    "a",
    " a",
    "a ",
    "a\u00a0",
    "é",
    "漢字",
    "😀",
    "x" * 128,
    "x" * 129,
    "x" * 255,
    "x" * 256,
]
NOTIFIES: list[Any] = [
    [], {}, "shop.told", 1, True, {"task": "a"}, {"queue": "b"},
    {"task": "a", "queue": "b", "x": 1},
    {"task": "", "queue": "b"}, {"task": "a b", "queue": "b"}, {"task": "a", "queue": "b/c"},
    {"task": "a\n", "queue": "b"}, {"task": None, "queue": "b"}, {"task": 1, "queue": "b"},
    {"task": "a" * 200, "queue": "b" * 200}, {"task": "a" * 201, "queue": "b"},
    {"task": ["a"], "queue": "b"}, {"task": "a", "queue": {"b": 1}},
    [["task", "a"], ["queue", "b"]],
    {"task": "a", "queue": "b", "on": []}, {"task": "a", "queue": "b", "on": "final"},
    {"task": "a", "queue": "b", "on": None}, {"task": "a", "queue": "b", "on": ["final", "final"]},
    {"task": "a", "queue": "b", "on": ["Final"]}, {"task": "a", "queue": "b", "on": [["final"]]},
    {"task": "a", "queue": "b", "on": {"final": 1}},
    {"task": "a", "queue": "b", "on": ["final", 1]},
    {"task": "a", "queue": "b", "on": ["accepted"]},
    {"task": "a", "queue": "b", "on": ["final", None]},
    {"TASK": "a", "queue": "b"}, {"task": "\ud800", "queue": "b"}, {"task": "a\x00", "queue": "b"},
]  # fmt: skip
EXTENDS: list[Any] = [
    {}, [], "", "a", 1, {"a": 1}, {"a": None}, {"a": True}, {"a": {"b": "c"}}, {"a": ["b"]},
    {"": "a"},
    {"a": ""}, {"a b": "c"}, {"a" * 64: "b"}, {"a" * 65: "b"}, {"a": "b" * 255}, {"a": "b" * 256},
    {"a": "b\x00"}, {"a": " b"}, {"\ud800": "b"}, {"a": "\ud800"}, {"é": "b"}, {"a": "é" * 255},
    {str(number): "x" for number in range(145)}, {str(number): "x" for number in range(400)},
    {str(number): "é" * 255 for number in range(4)},
    {"a\n": "b"}, {"a": "漢" * 200, "b": "😀" * 250},
]  # fmt: skip
OWN_KWARGS = ["status", "due_at", "id", "nonce", "review_reason", "claim_id", "self", "args", "cls"]


def deep(levels: int, *, of_lists: bool) -> Any:
    """As many levels as a JSON parser takes, or somewhat less."""
    value: Any = "x"
    for _ in range(levels):
        value = [value] if of_lists else {"a": value}
    return value


@dataclass
class Case:
    """One generated message; its number and the seed make it again."""

    number: int

    def __post_init__(self) -> None:
        self.random = random.Random(f"{SEED}:{self.number}")
        self.kwargs = self._valid()
        for _ in range(self.random.choice([0, 1, 1, 1, 1, 1, 2, 3])):
            self._mutate()

    def _text(self, letters: str, longest: int) -> str:
        return "".join(self.random.choices(letters, k=self.random.randint(1, longest)))

    def _valid(self) -> dict[str, Any]:
        pick, plain = self.random.choice, string.ascii_letters + string.digits
        kwargs: dict[str, Any] = {
            "merchant_order_no": self._text(plain + "._-", 64),
            "amount": self._amount(),
            "currency": pick(["USD", "EUR", self._text(string.ascii_uppercase, 6) + "XX"]),
            "channel_code": pick(["11", "12", "16", "18", self._text(plain + "_-", 32)]),
            "account_no": pick([self._text(plain + "@.+-", 128), "P12345678", "+380501234567"]),
        }
        optional: dict[str, Callable[[], Any]] = {
            "remark": lambda: pick([None, "thanks", self._text(plain, 255), "é漢😀"]),
            "extend_fields": lambda: pick([None, {}, {"a": "é", "c.d": self._text(plain, 255)}]),
            "epay_account": lambda: pick([None, ACCOUNT]),
            "notify": self._notify,
        }  # fmt: skip
        for name, make in optional.items():
            if self.random.random() < 0.5:
                kwargs[name] = make()
        return kwargs

    def _amount(self) -> str:
        whole = self.random.randrange(10 ** self.random.randint(1, 16))
        fraction = self.random.choice(["", ".5", ".50", ".05", ".99", ".10", ".00"])
        return f"{whole or 1}{fraction}"

    def _notify(self) -> Any:
        on = self.random.choice(
            [["final"], ["accepted"], ["accepted", "final"], ["final", "accepted"]]
        )
        address = {"task": "shop.told", "queue": "shop"}
        return self.random.choice(
            [None, address, {**address, "on": on}, {**address, "on": tuple(on)}]
        )

    def _mutate(self) -> None:
        kwargs, draw = self.kwargs, self.random
        name = draw.choice(FIELDS)
        how = draw.randrange(100)
        if how < 8:
            kwargs.pop(name, None)
        elif how < 16:
            kwargs[self._strange_name(name)] = kwargs.get(name, "x")
        elif how < 40:
            kwargs[name] = self._wrong_for(name)
        elif how < 62:
            kwargs[name] = self._any_type()
        elif how < 80 and isinstance(kwargs.get(name), str):
            kwargs[name] = self._edited(kwargs[name])
        elif how < 90:
            other = draw.choice(FIELDS)
            kwargs[name], kwargs[other] = kwargs.get(other), kwargs.get(name)
        elif how < 99:
            kwargs["notify"] = draw.choice(NOTIFIES)
        else:
            kwargs.update({f"k{number}": "x" for number in range(draw.choice([1, 91, 200]))})

    def _wrong_for(self, name: str) -> Any:
        kinds: dict[str, list[Any]] = {
            "merchant_order_no": ORDER_NOS,
            "amount": AMOUNTS,
            "currency": CURRENCIES,
            "channel_code": CHANNELS,
            "account_no": TEXTS + UNPRINTABLE + RUINED,
            "remark": TEXTS + UNPRINTABLE,
            "extend_fields": EXTENDS,
            "epay_account": ["", "other@epay.com", ACCOUNT.upper(), ACCOUNT + " ", " ", "\n", "é"],
            "notify": NOTIFIES,
        }
        return self.random.choice(kinds[name])

    def _any_type(self) -> Any:
        draw = self.random
        if draw.random() < 0.001:
            return draw.choice([TEN_MEGABYTES, {"a": TEN_MEGABYTES}, [TEN_MEGABYTES]])
        choices: list[Any] = [
            None, True, False, *NUMBERS, [], {}, ["10.50"], {"a": "b"}, "", " ",
            deep(draw.randint(1, 900), of_lists=draw.random() < 0.5), [[], {}], [None],
        ]  # fmt: skip
        return draw.choice(choices)

    def _edited(self, value: str) -> str:
        at = self.random.randint(0, len(value))
        piece = self.random.choice([*UNPRINTABLE, " ", "/", "-", "e", "\u0663", "é", "'", "0" * 50])
        return value[:at] + piece + value[at + self.random.choice([0, 1]) :]

    def _strange_name(self, name: str) -> str:
        near = [
            name.upper(),
            name + " ",
            name[:-1],
            f" {name}",
            name.replace("_", "-"),
            f"{name}\x00",
        ]
        return str(
            self.random.choice(
                [*near, *OWN_KWARGS, "", "\ud800", "é", "a" * 300, "merchantOrderNo"]
            )
        )
