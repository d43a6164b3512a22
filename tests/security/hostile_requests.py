"""Callbacks as nobody in their right mind would send them: valid ones, spoilt in every way we know.

Every request is made from its number alone, so a failure names what to look at again.
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.webhook import FORM, JSON, PATH, PREVIOUS, signed

LIMIT = 65_536
Fields = dict[str, str]
Pairs = list[tuple[str, str]]

_TEXTS = (
    "", " ", "0", "-1", "7", "6", "NaN", "Infinity", "1e9", "1,5", "007", "+7", "\u0667", "null",
    "true", "\x00", "a\x00b", "\r\n\r\nHTTP/1.1 200 OK", "%00", "%", "%zz", "\ufeff", "\u202e",
    "\U0001f4b8", "é", "ﬀ", "' OR 1=1 --", "<script>", "${jndi:x}", "../../etc", "{}", "[]",
    '{"a":', "a=b&c=d",
    "&status=7", "&key=TESTKEY123", "&amount=1.00&", "x" * 129, "9" * 300, "1" * 5000, "success",
)  # fmt: skip
_TYPES = (
    FORM, JSON, "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x",
    "application/json; charset=utf-16", FORM + "; charset=gbk", "application/xml", ";;;", "a/b/c",
    JSON + ";" * 50, "\x7f", "application/JSON", FORM.upper(), "application/json+x", "*/*",
    FORM + ",x",
)  # fmt: skip
_METHODS = (
    "POST",
    "GET",
    "PUT",
    "DELETE",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "post",
    "",
)
_CHARSETS = ("latin-1", "utf-16", "utf-7", "utf-32", "gbk", "cp1252", "utf-8-sig")


@dataclass
class Hostile:
    """One request, and the callback that it was made from."""

    kind: str
    origin: Fields
    """Signed by the key in use; what the sender may repeat, and no more."""
    body: bytes = b""
    content_type: str = FORM
    method: str = "POST"
    query: str = ""
    is_right: bool = False
    """Nothing is wrong with it: it has to be accepted."""
    extra: dict[str, Any] = field(default_factory=dict)

    def environ(self) -> dict[str, Any]:
        """As a WSGI server hands it over."""
        return {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": PATH,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "webhook",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.content_type,
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **self.extra,
        }


class TornStream(io.RawIOBase):
    """A connection that breaks, in an exception that no WSGI server has told us of."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if found := self._body.read(min(size, 100) if size >= 0 else 100):
            return found
        raise LookupError("invalid chunk size")


def hostile(number: int) -> Hostile:
    """The request of that number."""
    rng = random.Random(number)
    origin = signed(
        merchantOrderNo=f"order-{number}",
        status=rng.choice(["5", "6", "7", "8", "20"]),
        amount=f"{rng.randrange(1, 10**6) / 100:.2f}",
    )
    kind, make = rng.choice(_KINDS)
    made = make(rng, origin)
    made.kind = kind
    return made


def _post(origin: Fields, pairs: Pairs, **more: Any) -> Hostile:
    text = urlencode(pairs, errors="surrogatepass")
    return Hostile("", origin, text.encode(), **more)


def _right(rng: random.Random, origin: Fields) -> Hostile:
    pairs = list(origin.items())
    rng.shuffle(pairs)
    way = rng.randrange(3)
    if way == 0:
        return _post(origin, pairs, is_right=True)
    if way == 1:
        body = json.dumps(dict(pairs), ensure_ascii=rng.random() < 0.5).encode()
        return Hostile("", origin, body, JSON, is_right=True)
    return Hostile("", origin, method="GET", query=urlencode(pairs), is_right=True)


def _text(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(_TEXTS)
    return "".join(chr(_character(rng)) for _ in range(rng.randrange(1, 40)))


def _character(rng: random.Random) -> int:
    high = rng.choice([0x20, 0x7F, 0x100, 0xD800, 0x110000])
    return (code := rng.randrange(high)) - 0x800 * (0xD800 <= code < 0xE000)


def _value(rng: random.Random, origin: Fields) -> Hostile:
    name = rng.choice(list(origin))
    changed = rng.choice(
        [_text(rng), origin[name] + _text(rng), _text(rng) + origin[name], origin[name].lower()]
    )
    return _post(origin, list((origin | {name: changed}).items()))


def _resigned(rng: random.Random, _origin: Fields) -> Hostile:
    """EPAY itself sends something odd, and signs it."""
    changes = {rng.choice(_RESIGNED): _text(rng) for _ in range(rng.randrange(1, 4))}
    odd = signed(**changes)
    if rng.random() < 0.3:
        return Hostile("", odd, json.dumps(odd).encode(), JSON)
    return _post(odd, list(odd.items()))


_RESIGNED = (
    "merchantOrderNo", "epayAccount", "epayOrderNo", "status", "amount", "fee", "message",
    "settlementCurrency", "paymentCurrency", "remark", "extendFields", "extra",
)  # fmt: skip


def _name(rng: random.Random, origin: Fields) -> Hostile:
    pairs = list(origin.items())
    at = rng.randrange(len(pairs))
    name, value = pairs[at]
    renamed = rng.choice(
        [name.upper(), name + "\x00", name + "[]", f" {name}", _text(rng), name * 9]
    )
    pairs[at] = renamed, value
    return _post(origin, pairs)


def _dropped(rng: random.Random, origin: Fields) -> Hostile:
    kept = rng.sample(list(origin.items()), rng.randrange(len(origin)))
    return _post(origin, kept)


def _added(rng: random.Random, origin: Fields) -> Hostile:
    name = rng.choice(["payUrl", "isForward", "message", "extra", "key", "__proto__", _text(rng)])
    return _post(origin, [*origin.items(), (name, _text(rng))])


def _twice(rng: random.Random, origin: Fields) -> Hostile:
    name = rng.choice(list(origin))
    pairs = [*origin.items(), (name, rng.choice([origin[name], _text(rng)]))]
    rng.shuffle(pairs)
    if rng.random() < 0.3:
        members = (f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
        return Hostile("", origin, ("{" + ",".join(members) + "}").encode(), JSON)
    return _post(origin, pairs)


def _signature(rng: random.Random, origin: Fields) -> Hostile:
    right = origin["sign"]
    wrong = rng.choice(
        [
            right.lower(),
            right[:-1],
            right + "0",
            right[::-1],
            "0" * 64,
            "",
            right + "\x00",
            right.replace("A", "\uff21"),
            f" {right}",
            right + "\n",
            _text(rng),
            signed(PREVIOUS, **{k: v for k, v in origin.items() if k != "sign"})["sign"],
        ]
    )
    return _post(origin, list((origin | {"sign": wrong}).items()))


def _moved(rng: random.Random, origin: Fields) -> Hostile:
    """The same text to sign, cut into other fields: nothing is escaped in it."""
    names = sorted(name for name, value in origin.items() if value and name not in _UNSIGNED)
    at = rng.randrange(1, len(names))
    host, guest = names[at - 1], names[at]
    changed = origin | {host: f"{origin[host]}&{guest}={origin[guest]}"}
    del changed[guest]
    if rng.random() < 0.5:
        changed[guest + "x"] = ""
    return _post(origin, list(changed.items()))


_UNSIGNED = {"sign", "isForward", "payUrl"}


def _encoded(rng: random.Random, origin: Fields) -> Hostile:
    way = rng.randrange(4)
    text = urlencode(origin)
    if way == 0:
        return Hostile("", origin, text.encode(rng.choice(_CHARSETS)))
    if way == 1:
        spoilt = origin | {"remark": "付款é"}
        raw = "&".join(f"{name}={value}" for name, value in spoilt.items())
        return Hostile("", origin, raw.encode(rng.choice(_CHARSETS), "replace"))
    if way == 2:
        return Hostile("", origin, quote(text, safe="").encode())
    body = json.dumps(origin).encode(rng.choice(_CHARSETS))
    return Hostile("", origin, body, JSON)


def _torn(rng: random.Random, origin: Fields) -> Hostile:
    made = _right(rng, origin)
    made.is_right = False
    raw = made.body or made.query.encode()
    cut = raw[: rng.randrange(len(raw))]
    if made.method == "GET":
        made.query = cut.decode()
        return made
    made.body = cut
    if rng.random() < 0.5:
        made.extra["CONTENT_LENGTH"] = str(len(raw))
    return made


def _flipped(rng: random.Random, origin: Fields) -> Hostile:
    made = _right(rng, origin)
    made.is_right = False
    raw = bytearray(made.body or made.query.encode())
    for _ in range(rng.randrange(1, 6)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    if made.method == "GET":
        made.query = raw.decode("latin-1")
    else:
        made.body = bytes(raw)
    return made


def _binary(rng: random.Random, origin: Fields) -> Hostile:
    return Hostile("", origin, rng.randbytes(rng.randrange(2000)), rng.choice([FORM, JSON]))


def _huge(rng: random.Random, origin: Fields) -> Hostile:
    way = rng.randrange(4)
    if way == 0:
        rest = LIMIT - len(urlencode(origin | {"remark": ""}))
        return _post(
            origin, list((origin | {"remark": "x" * (rest + rng.randrange(-2, 3))}).items())
        )
    if way == 1:
        return Hostile("", origin, b"a=&" * rng.randrange(150, 30_000))
    if way == 2:
        return Hostile("", origin, ("{" + '"a":1,' * 9000).encode(), JSON)
    return Hostile("", origin, method="GET", query="a=b&" * rng.randrange(40, 20_000))


def _lengths(rng: random.Random, origin: Fields) -> Hostile:
    made = _post(origin, list(origin.items()))
    told = rng.choice(
        ["", "0", "-1", "abc", "1e3", "99999999999999999999", "65537", "\uff11\uff12", " 12", "10"]
    )
    if rng.random() < 0.4:
        made.extra = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        if rng.random() < 0.5:
            made.body *= rng.randrange(1, 300)
        if rng.random() < 0.3:
            made.extra["wsgi.input"] = TornStream(made.body)
        told = ""
    made.extra["CONTENT_LENGTH"] = told
    return made


def _nested(rng: random.Random, origin: Fields) -> Hostile:
    deep = rng.choice([3, 31, 33, 200, 900, 990, 1000, 3000, 9000])
    opening, closing = rng.choice([('{"a":', "}"), ("[", "]"), ('{"a":[', "]}")])
    pit = opening * deep + "1" + closing * deep
    name = rng.choice(["message", "extendFields", "merchantOrderNo", "sign", "amount"])
    if rng.random() < 0.5:
        return _post(origin, list((origin | {name: pit}).items()))
    rest = json.dumps({key: value for key, value in origin.items() if key != name})
    return Hostile("", origin, f'{rest[:-1]},"{name}":{pit}}}'.encode(), JSON)


def _typed(rng: random.Random, origin: Fields) -> Hostile:
    """JSON that is no flat object of texts."""
    strange: list[Any] = [
        None, True, 1, -7, 10**30, 1.5, float("nan"), float("inf"), [], {}, [1, [2]], {"a": None},
        "\ud800", "a\ud83d", "\x00", {"\ud800": "\udfff"}, [origin["sign"]], {"sign": 1},
    ]  # fmt: skip
    name = rng.choice([*origin, _text(rng)])
    whole: Any = {**origin, name: rng.choice(strange)}
    if rng.random() < 0.2:
        whole = rng.choice([[whole], list(origin.items()), rng.choice(strange), whole["sign"]])
    text = json.dumps(whole)
    if rng.random() < 0.1:
        text = text.replace('"7"', "9" * 5000)
    return Hostile("", origin, text.encode(), JSON)


def _headed(rng: random.Random, origin: Fields) -> Hostile:
    made = _right(rng, origin)
    made.is_right = False
    made.content_type = rng.choice(_TYPES)
    made.method = rng.choice(_METHODS)
    made.query = rng.choice(
        [made.query, "status=6", "%ff%00", "&&&==", "a" * 300, urlencode(origin)]
    )
    made.extra = {
        "HTTP_X_FORWARDED_FOR": rng.choice(["127.0.0.1", "x", "::1, ,,", "1.2.3.4:5, [::1]:6"]),
        "HTTP_HOST": rng.choice(["webhook", "", "a b", "evil:99999", "[::"]),
        "HTTP_CONTENT_ENCODING": rng.choice(["gzip", "identity"]),
        "HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE",
        "HTTP_COOKIE": _text(rng).encode("utf-8", "replace").decode("latin-1"),
    }
    return made


_WEIGHTS: dict[Callable[[random.Random, Fields], Hostile], int] = {
    _right: 2, _value: 6, _resigned: 3, _name: 2, _dropped: 2, _added: 2, _twice: 2, _signature: 3,
    _moved: 2, _encoded: 2, _torn: 2, _flipped: 3, _binary: 1, _huge: 1, _lengths: 1, _nested: 1,
    _typed: 3, _headed: 2,
}  # fmt: skip
_KINDS = [
    (make.__name__.strip("_"), make) for make, weight in _WEIGHTS.items() for _ in range(weight)
]
