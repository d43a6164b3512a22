"""Account numbers, pin codes and keys are put in everywhere, and afterwards looked for everywhere.

Every planted account number is another one, so a find tells which input it came through. A find is
its beginning: what is cut short or masked too little counts too.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import flask
import psycopg
import pytest
import redis
import requests
from kombu import Connection, Producer

from devstack.wait import wait_for
from ops import cli
from sandbox import envelopes
from sandbox.settings import Duplicates, SandboxConfig
from shared.epay.callbacks import sign_callback
from shared.epay.responses import MAX_TEXT
from shared.epay.signing import NestedForm
from shared.storage.encryption import new_key
from tests.support.databases import fresh_database
from tests.support.factories import request_kwargs
from tests.support.servers import PostgresServer, RedisServer, flush
from tests.support.service import ACCOUNT, SHORT, Service, service

PIN = "PIN-30519-4427"
KEY = "KEY-5f21c9-b07d"
PREVIOUS = "OLD-77aa10-4e6c"
UNKNOWN_CODE = "9321"
_BEGINNING = 9
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")

Places = dict[str, str]
"""What can be looked into, by name."""


@dataclass
class Planted:
    """The secrets that were put in, and by which way."""

    ways: dict[str, str] = field(
        default_factory=lambda: {PIN: "pin code", KEY: "API key", PREVIOUS: "previous key"}
    )
    of_order: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(10_203_041, 1_010_101))

    def number(self, way: str) -> str:
        """An account number that is nowhere else."""
        made = f"U{next(self._numbers)}7788"
        self.ways[made[:_BEGINNING]] = way
        return made

    def payee(self, order_no: str) -> str:
        """The account number of one payout."""
        self.of_order[order_no] = self.number(f"account_no of {order_no}")
        return self.of_order[order_no]

    def found_in(self, text: str) -> list[str]:
        """The ways whose secret stands in the text, in whatever letters or wrapping."""
        whole = text.casefold() + "".join(map(_unwrapped, _BASE64.findall(text))).casefold()
        return [way for secret, way in self.ways.items() if secret.casefold() in whole]


def _unwrapped(encoded: str) -> str:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode(errors="replace")
    except ValueError:
        return ""


@dataclass
class Scene:
    """A running service, and all that came out of it so far."""

    service: Service
    planted: Planted
    encrypted: bool
    places: Places = field(default_factory=dict)

    def ask(self, order_no: str, **changes: Any) -> None:
        self.service.ask(order_no, **{"account_no": self.planted.payee(order_no)} | changes)

    def put(self, body: Any, **headers: Any) -> None:
        """A message that Celery would not send."""
        with Connection(self.service.redis_url) as connection:
            Producer(connection).publish(
                body, serializer="json", exchange="", routing_key="payouts", headers=headers
            )

    def keep(self, name: str, text: str) -> None:
        self.places[name] = self.places.get(name, "") + text + "\n"

    def run(self, *arguments: str, **environment: str) -> None:
        """Run `payouts` as its entry point does, and keep what it prints."""
        said = io.StringIO()
        with (
            mock.patch.dict(os.environ, {**self.service.environment, **environment}, clear=True),
            mock.patch.object(sys, "argv", ["payouts", *arguments]),
            contextlib.chdir(self.service.logs),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            contextlib.suppress(SystemExit),
        ):
            cli.main()
        self.keep(f"payouts {arguments[0]}", said.getvalue())


class Talkative:
    """The stand-in gateway, made to repeat whatever it knows of an order."""

    def __init__(self, planted: Planted) -> None:
        self._numbers = planted.of_order

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """While it lasts, answers and callbacks say more than they should."""
        with (
            mock.patch.object(envelopes, "created_data", self._more(envelopes.created_data)),
            mock.patch.object(envelopes, "query_data", self._more(envelopes.query_data)),
            mock.patch.object(envelopes, "refusal", self._refusal(envelopes.refusal)),
        ):
            yield

    def _more(self, data: Any) -> Any:
        def talking(order: Any, status: str) -> dict[str, Any]:
            number = self._numbers.get(order.merchant_order_no, "")
            more = {"accountNo": number, "pinCode": PIN, "receiverInfo": {"accountNo": number}}
            return dict(data(order, status)) | more

        return talking

    def _refusal(self, refusal: Any) -> Any:
        def talking(config: Any, code: int, message: str) -> dict[str, Any]:
            order_no = flask.request.get_json()["param"]["merchantOrderNo"]
            number = self._numbers.get(order_no, "")
            # as it is, in other letters, and cut short by our own limit
            words = f"{message}: account {number} ({number.lower()}) is closed, see "
            words += "x" * (MAX_TEXT - len(words) - len(number) + 2) + number
            return dict(refusal(config, code, words))

        return talking


@pytest.fixture(scope="module", params=["json", "console"])
def scene(
    request: pytest.FixtureRequest,
    postgres: PostgresServer,
    template_database: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """Everything planted, everything gone wrong, everything collected."""
    flush(redis_server.url)
    planted = Planted()
    encrypted = request.param == "json"
    settings = SHORT | {
        "LOG_FORMAT": request.param,
        "EPAY_API_KEY": KEY,
        "EPAY_API_KEY_PREVIOUS": PREVIOUS,
        "EPAY_SETTLE_SECONDS": "9",
        "DB_PATIENCE_SECONDS": "1",
        "NOTIFY_SECONDS": "0.5",
        "BROKER_VISIBILITY_TIMEOUT": "30",
        "CELERY_RESULT_BACKEND": redis_server.url,
    }
    if encrypted:
        settings["ACCOUNT_ENCRYPTION_KEYS"] = new_key()
    with ExitStack() as stack:
        stack.callback(flush, redis_server.url)
        stack.enter_context(Talkative(planted).speaking())
        running = stack.enter_context(
            service(
                stack.enter_context(fresh_database(postgres, template_database)),
                redis_server.url,
                tmp_path_factory.mktemp("logs"),
                SandboxConfig(
                    duplicates=Duplicates.PAY, pay_after=0.1, callback_scale=0.02, api_key=KEY
                ),
                settings,
            )
        )
        running.start_beat()
        running.start_webhook()
        running.start_worker("--without-gossip", "--without-mingle")
        made = Scene(running, planted, encrypted)
        _plant(made, postgres)
        _collect(made)
        yield made


def _plant(scene: Scene, postgres: PostgresServer) -> None:
    _plant_in_requests(scene)
    _plant_in_messages(scene)
    _plant_in_callbacks(scene)
    _plant_in_http(scene)
    _let_a_constraint_fail(scene)
    scene.service.wait_for_status("paid-1", "succeeded")
    _take_the_database_away(scene, postgres)
    told = "SELECT 1 FROM payout_event e JOIN payout p ON p.id = payout_id WHERE e.kind = %s"
    wait_for(
        lambda: bool(scene.service.sql(told, "no_such_order")), 60, "queries that were refused"
    )
    wait_for(
        lambda: bool(scene.service.sql(told, "create_refused")), 60, "creates that were refused"
    )
    unsent = "SELECT 1 FROM payout_outbox WHERE sent_at IS NULL"
    wait_for(lambda: not scene.service.sql(unsent), 60, "all to be told")
    scene.service.wait_until_idle()


def _plant_in_requests(scene: Scene) -> None:
    number, notify = scene.planted.number, {"task": "shop.told", "queue": "shop"}
    both = {**notify, "on": ["accepted", "final"]}
    scene.ask(
        "paid-1",
        remark=f"for {number('remark')} {PIN} {KEY}",
        extend_fields={"note": number("extend_fields"), "pin": PIN, "key": PREVIOUS},
        notify=both,
    )
    scene.service.wait_for_status("paid-1", "succeeded")
    scene.ask("paid-1", notify=both)  # a conflict
    # what is refused with this code for good, and what is asked about because nobody knows the code
    scene.ask("refused-1", remark="sandbox:refuse=2005", notify=both)
    scene.ask("refused-2", remark=f"sandbox:refuse={UNKNOWN_CODE}", notify=both)
    scene.ask("refused-3", remark=f"sandbox:refuse={UNKNOWN_CODE}", notify=both)
    wrong: dict[str, Any] = {
        "amount": number("amount"),
        "currency": number("currency"),
        "channel_code": f"{number('channel_code')} {PIN}",
        "account_no": f"{number('account_no that is none')}\n",
        "remark": f"{number('remark that is none')}\x00{PIN}",
        "extend_fields": {f"{number('name of an extend field')} ": PIN},
        "epay_account": number("epay_account"),
        "notify": {**notify, number("name in notify"): PIN},
        number("name of a kwarg"): PIN,
        "pinCode": f"{PIN} {KEY} {PREVIOUS}",
    }
    for nth, (name, value) in enumerate(wrong.items()):
        scene.ask(f"wrong-{nth}", **{"notify": both, name: value})
    scene.ask("wrong-types", notify=both, amount=[number("a list")], currency={PIN: KEY})
    scene.ask("wrong-extend", notify=both, extend_fields={"a": {"b": number("nested")}})
    scene.service.client_app.send_task(
        "payouts.request",
        args=[number("positional"), PIN],
        kwargs={"notify": both},
        queue="payouts",
    )


def _plant_in_messages(scene: Scene) -> None:
    number = scene.planted.number
    kwargs = request_kwargs("no-message") | {"account_no": number("no message"), "pinCode": PIN}
    name = "payouts.request"
    scene.put([[], kwargs, {}], task="payouts.nonsense", id="m1")
    scene.put([[], kwargs, {}], task=name)
    scene.put({"task": name, "kwargs": kwargs})
    scene.put({"task": "payouts.nonsense", "kwargs": kwargs})
    scene.put([[], [kwargs], {}], task=name, id="m2")
    scene.put([[], kwargs, {}], task=name, id="m3", expires=[number("expires")])
    scene.put([[], kwargs, {}], task=name, id="m4", eta=number("eta"))
    scene.put([[], kwargs, {}], task="payouts.callback", id="m5")
    scene.put([[number("args of submit")], {}, {}], task="payouts.submit", id="m6")
    scene.put([[], kwargs, {}], task="payouts.query", id="m7")
    with Connection(scene.service.redis_url) as connection:
        for kind in ("application/json", "application/x-python-serialize", "text/plain"):
            Producer(connection).publish(
                f"{{not json {number(kind)} {KEY}".encode(),
                content_type=kind,
                content_encoding="utf-8",
                exchange="",
                routing_key="payouts",
                headers={"task": name, "id": "m8"},
            )


def _plant_in_callbacks(scene: Scene) -> None:
    url, number = scene.service.callback_url, scene.planted.number

    def fields(order_no: str, **changes: str) -> dict[str, str]:
        order = scene.service.gateway.book.find(order_no)
        return {
            "epayAccount": ACCOUNT,
            "merchantOrderNo": order_no,
            "epayOrderNo": order.epay_order_no if order else "E1",
            "amount": "10.50",
            "settlementCurrency": "USD",
            "status": "7",
            "pinCode": PIN,
            "accountNo": number("accountNo of a callback"),
            "payerAccount": number("payerAccount of a callback"),
            "remark": f"{number('remark of a callback')} {KEY}",
            "extendFields": json.dumps({"a": number("extendFields of a callback"), "b": PREVIOUS}),
            "message": json.dumps({"accountNo": number("message of a callback"), "pin": PIN}),
            **changes,
        }

    def signed(bare: dict[str, str], key: str) -> dict[str, str]:
        return bare | {"sign": sign_callback(bare, key, NestedForm.COMMA)}

    for order_no in ("paid-1", "stray-1"):
        sent: list[dict[str, str]] = [
            signed(fields(order_no), KEY),
            signed(fields(order_no, status="6"), PREVIOUS),
            fields(order_no, sign=KEY),
            fields(f"{order_no}-x", sign="0" * 64),
            fields(order_no),
            fields("", sign="0" * 64),
            fields("x" * 5000, sign=PREVIOUS),
        ]
        for form in sent:
            answers = [
                requests.post(url, data=form, timeout=60),
                requests.post(url, json=form, timeout=60),
                requests.get(url, params=form, timeout=60),
            ]
            for answer in answers:
                scene.keep("answers of the webhook", f"{answer.headers} {answer.text}")


def _plant_in_http(scene: Scene) -> None:
    url, number = scene.service.callback_url, scene.planted.number
    root = url.removesuffix("/epay/callback")
    body = f'{{"accountNo": "{number("a torn body")}", "pinCode": "{PIN}"'
    query = {"accountNo": number("a query string"), "pinCode": PIN, "key": KEY}
    answers = [
        requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60),
        requests.post(
            url, data=body, headers={"Content-Type": f"text/{number('a type')}"}, timeout=60
        ),
        requests.post(url, data=body.encode() * 2000, timeout=60),
        requests.post(url, data=body.encode() + b"\xff\x00", timeout=60),
        requests.put(url, params=query, data=body, timeout=60),
        requests.delete(f"{root}/{number('a path')}", params=query, timeout=60),
        requests.get(f"{root}/nowhere/{PIN}", params=query, timeout=60),
        *(
            requests.get(f"{root}/{name}", params=query, timeout=60)
            for name in ("healthz", "readyz")
        ),
        requests.get(url, headers={"User-Agent": number("an agent"), "X-Pin": PIN}, timeout=60),
        requests.get(
            url, headers={"X-Forwarded-For": number("a proxy"), "Cookie": KEY}, timeout=60
        ),
    ]
    for answer in answers:
        scene.keep("answers of the webhook", f"{answer.headers} {answer.text}")
    path = f"/epay/callback?pinCode={PIN}&accountNo="
    for raw in (
        f"GET {path}{number('a wrong version')} HTTP/9.9\r\n\r\n",
        f"GET {path}{number('no version')}\r\n\r\n",
        f"{number('no method')} {path} HTTP/1.1\r\n\r\n",
        f"GET {path} HTTP/1.1\r\n{number('no header')} {KEY}\r\n\r\n",
        f"GET {path} HTTP/1.1\r\nX {number('a header name')}: a\r\n\r\n",
        f"POST {path} HTTP/1.1\r\nContent-Length: {number('a length')}\r\n\r\n",
        f"POST {path} HTTP/1.1\r\nTransfer-Encoding: {number('a coding')}\r\n\r\n",
    ):
        answer = _raw(scene.service, raw)  # it quotes what was sent, to who sent it
        assert answer.startswith(("HTTP/1.1 4", "HTTP/1.1 501")), answer


def _raw(running: Service, request: str) -> str:
    with socket.create_connection(("127.0.0.1", running.webhook_port), timeout=60) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        pieces = iter(lambda: connection.recv(65_536), b"")
        return b"".join(pieces).decode(errors="replace")


def _let_a_constraint_fail(scene: Scene) -> None:
    """PostgreSQL refuses a row and would quote it; the request is parked, then taken up again."""
    url = scene.service.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE payout ADD CONSTRAINT planted CHECK (merchant_order_no <> 'check-1')"
        )
        with redis.Redis.from_url(scene.service.redis_url) as client:
            parked = client.llen("payouts.parked")
        scene.ask("check-1", remark=f"{scene.planted.number('remark of a refused row')} {PIN}")
        with redis.Redis.from_url(scene.service.redis_url) as client:
            wait_for(lambda: client.llen("payouts.parked") > parked, 60, "the request to be parked")
            connection.execute("ALTER TABLE payout DROP CONSTRAINT planted")
            client.lmove("payouts.parked", "payouts")
    scene.service.wait_for_status("check-1", "succeeded")


def _take_the_database_away(scene: Scene, postgres: PostgresServer) -> None:
    name = psycopg.conninfo.conninfo_to_dict(scene.service.database_url)["dbname"]
    root = scene.service.callback_url.removesuffix("/epay/callback")
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            scene.ask("away-1", remark=PIN)
            wait_for(lambda: "database_away" in scene.service.log("worker1"), 60, "an outage")
            scene.keep("answers of the webhook", requests.get(f"{root}/readyz", timeout=60).text)
            _run_all(scene, [("show", "paid-1"), ("doctor",), ("verify",)])
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    scene.service.wait_for_status("away-1", "succeeded", timeout=60)


def _collect(scene: Scene) -> None:
    running = scene.service
    root = running.callback_url.removesuffix("/epay/callback")
    scene.keep("metrics", requests.get(f"{root}/metrics", timeout=60).text)
    every = [("show", order_no) for order_no in ("paid-1", "refused-1", "refused-2", "wrong-1")]
    every += [("show", "paid-1", "--json"), ("show", "paid-1", "--export"), ("verify",)]
    every += [("show", "refused-2", "--export"), ("doctor",), ("doctor", "--json")]
    every += [("list",), ("list", "--csv", "--review"), ("list", "--json"), ("review",)]
    every += [("review", "--json"), ("show", "refused-2", "--refresh")]
    reason = f"asked about {scene.planted.of_order['refused-2']}"
    every += [("resolve", "refused-2", "note", "--name", "Ann", "--reason", reason)]
    every += [("show", "refused-2")]
    _run_all(scene, every if scene.encrypted else every[:6])
    if scene.encrypted:
        _run_all(scene, _wrong_enqueues(scene.planted))
        secret = {"DATABASE_URL", "REDIS_URL", "EPAY_BASE_URL", "EPAY_LEASE_SECONDS", "LOG_FORMAT"}
        secret |= {
            "EPAY_SIGN_NESTED",
            "ACCOUNT_ENCRYPTION_KEYS",
            "TRUSTED_PROXIES",
            "SWEEP_SECONDS",
        }
        scene.run("doctor", **dict.fromkeys(secret, KEY))
        scene.run("rotate-keys", ACCOUNT_ENCRYPTION_KEYS=f"{KEY},{PREVIOUS}")
        scene.run("rotate-keys")
    for path in running.logs.glob("*.log"):
        scene.keep("logs", path.read_text(errors="replace"))
    for table in ("payout_event", "payout_outbox", "payout_mark"):
        rows = running.sql(f"SELECT t::text AS line FROM {table} t")
        scene.keep(table, "\n".join(row.line for row in rows))
    # what the app wrote for the payee is stored as it is; the account number, where it is locked
    kept = ["remark", "extend_fields"] + ([] if scene.encrypted else ["account_no"])
    rows = running.sql("SELECT (to_jsonb(p) - %s::text[])::text AS line FROM payout p", kept)
    scene.keep("payout", "\n".join(row.line for row in rows))
    scene.keep("Redis", _all_of_redis(running.redis_url))


def _wrong_enqueues(planted: Planted) -> Sequence[tuple[str, ...]]:
    good = {"--amount": "1", "--currency": "USD", "--channel": "11", "--account-no": "U1"}

    def command(*more: str, **changes: str) -> tuple[str, ...]:
        options = good | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        return ("enqueue", "cli-1", *itertools.chain(*options.items()), *more)

    number = planted.number
    return [
        command(amount=number("--amount")),
        command(account_no=f"{number('--account-no')}\n"),
        command(extend_fields=f"{{{number('--extend-fields')} {PIN}"),
        command(extend_fields=json.dumps({"a": [number("--extend-fields"), PIN]})),
        command(f"--account={number('an option that is none')}"),
        command(account_no=number("--account-no of a right one"), remark=PIN),
    ]


def _run_all(scene: Scene, commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        scene.run(*command)


def _all_of_redis(url: str) -> str:
    """Every key with all that it holds."""
    lines = []
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            if key == b"payouts.parked":
                continue  # refused requests wait there whole, for a person: SECURITY.md says so
            match client.type(key):
                case b"list":
                    held: Any = client.lrange(key, 0, -1)
                case b"hash":
                    held = client.hgetall(key)
                case b"zset":
                    held = client.zrange(key, 0, -1)
                case b"set":
                    held = client.smembers(key)
                case _:
                    held = client.get(key)
            lines.append(f"{key!r} {held!r}")
    return "\n".join(lines)


def test_all_came_to_pass(scene: Scene) -> None:
    """The errors that are to be searched really happened, and what holds secrets holds them."""
    logs = scene.places["logs"]
    for words in ("message_refused", "IntegrityError", "database_away", "raised unexpected"):
        assert words in logs, words
    assert scene.service.row("refused-1").status == "rejected"
    assert "celery-task-meta" in scene.places["Redis"]
    assert "create_refused" in scene.places["payout_event"]
    assert "conflict" in scene.places["payout_outbox"]
    assert scene.places["payout_outbox"].count("invalid_") >= 8
    stored = scene.service.row("paid-1").account_no
    assert stored.startswith("fernet:") if scene.encrypted else stored[:9] in scene.planted.ways
    assert PIN in scene.service.row("paid-1").remark
    assert scene.planted.found_in(stored) == ([] if scene.encrypted else ["account_no of paid-1"])


PLACES = (
    "logs",
    "payout",
    "payout_event",
    "payout_outbox",
    "Redis",
    "metrics",
    "answers of the webhook",
    "payouts show",
    "payouts doctor",
    "payouts verify",
    "payouts list",
    "payouts review",
    "payouts resolve",
    "payouts enqueue",
    "payouts rotate-keys",
)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_planted_is_found(scene: Scene, place: str) -> None:
    """Not one of the planted secrets, by whichever way it went in."""
    text = scene.places.get(place)
    if text is None:
        assert not scene.encrypted, "nothing was collected there"
        return
    assert text.strip()
    ways = scene.planted.found_in(text)
    found = {way: _around(text, way, scene.planted) for way in ways}
    assert not found, json.dumps(found, indent=1)


def _around(text: str, way: str, planted: Planted) -> str:
    secret = next(secret for secret, its in planted.ways.items() if its == way)
    at = text.casefold().find(secret.casefold())
    return text[max(0, at - 120) : at + 60] if at >= 0 else "(in base64)"
