"""The transport as a user of requests sees it; what law 2 needs of it is tested on real sockets."""

from __future__ import annotations

import http.client
import inspect
import ssl
from typing import Any

import pytest
import requests
import responses
import urllib3
import urllib3.util.connection
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from shared.domain.gateway import OutcomeUnknown
from shared.epay.config import EpayConfig
from shared.epay.transport import (
    GatewayConnection,
    GatewaySession,
    GatewayTLSConnection,
    Transport,
)

BASE_URL = "https://api.example.com/capi/openapi"
URL = f"{BASE_URL}/payoutApi/queryTransaction"


@pytest.fixture(scope="module")
def transport() -> Transport:
    return Transport(EpayConfig(BASE_URL, "shop@example.com", SecretStr("hush")))


@responses.activate
def test_responses_intercepts_the_request(transport: Transport) -> None:
    """And sees what would have been sent."""
    responses.post(URL, body=b'{"code":1}')
    assert transport.post("/payoutApi/queryTransaction", b'{"param":{}}') == b'{"code":1}'
    [call] = responses.calls
    assert call.request.body == b'{"param":{}}'
    assert dict(call.request.headers) == {
        "User-Agent": "epay-payouts",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": "12",
    }


@responses.activate
def test_status_and_redirect_of_responses_are_unknown(transport: Transport) -> None:
    """As of a real gateway."""
    responses.post(URL, status=302, headers={"Location": f"{BASE_URL}/other"})
    assert transport.post("/payoutApi/queryTransaction", b"{}") == OutcomeUnknown("http status 302")
    assert len(responses.calls) == 1


@responses.activate
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ReadTimeout(), "read timeout"),
        (requests.ConnectionError(), "connection lost or answer garbled"),
        (requests.ConnectTimeout(), "connection lost or answer garbled"),
        (RuntimeError(), "connection lost or answer garbled"),
    ],
)
def test_error_without_proof_is_unknown(
    transport: Transport, error: Exception, reason: str
) -> None:
    """Only our own connection can prove that nothing was sent; another adapter's error cannot."""
    responses.post(URL, body=error)
    assert transport.post("/payoutApi/queryTransaction", b"{}") == OutcomeUnknown(reason)


@responses.activate
def test_hook_of_the_session_is_called(transport: Transport) -> None:
    """It may read the answer; ours is read all the same."""
    seen: list[bytes] = []

    def note(response: requests.Response, *_: Any, **__: Any) -> None:
        seen.append(response.content)

    responses.post(URL, body=b'{"code":1}')
    transport.session.hooks["response"].append(note)
    try:
        assert transport.post("/payoutApi/queryTransaction", b"{}") == b'{"code":1}'
    finally:
        transport.session.hooks["response"].remove(note)
    assert seen == [b'{"code":1}']


@responses.activate
def test_no_cookie_is_kept(transport: Transport) -> None:
    """Nothing of one answer goes into the next request."""
    responses.post(URL, body=b"{}", headers={"Set-Cookie": "a=b; Path=/"})
    for _ in range(2):
        transport.post("/payoutApi/queryTransaction", b"{}")
    assert not transport.session.cookies
    assert "Cookie" not in responses.calls[1].request.headers


def test_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch, transport: Transport) -> None:
    """Only EPAY_PROXY_URL does."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    settings = transport.session.merge_environment_settings(URL, {}, None, None, None)
    assert not settings["proxies"]
    proxied = GatewaySession(
        EpayConfig(BASE_URL, "a", SecretStr("k"), proxy_url="http://proxy.example:3128")
    )
    settings = proxied.merge_environment_settings(URL, {}, None, None, None)
    assert settings["proxies"] == {"all": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (http.client.HTTPConnection, "auto_open"),
        (http.client.HTTPConnection, "send"),
        (HTTPConnection, "_new_conn"),
        (HTTPConnection, "connect"),
        (HTTPConnection, "request"),
        (HTTPConnection("h", proxy=None), "_dns_host"),
        (HTTPConnection("h", proxy=None), "proxy"),
        (HTTPConnection("h", proxy=None), "sock"),
        (HTTPConnection, "is_connected"),
        (urllib3.HTTPConnectionPool, "ConnectionCls"),
        (urllib3.HTTPConnectionPool("h"), "conn_kw"),
        (urllib3.HTTPSConnectionPool("h"), "scheme"),
        (HTTPAdapter, "cert_verify"),
        (requests.Session, "get_redirect_target"),
        (ssl.SSLContext, "sslsocket_class"),
    ],
)
def test_inner_names_of_libraries_exist(owner: object, name: str) -> None:
    """Those that transport.py overrides or reads; an update may take them away."""
    assert hasattr(owner, name)


def test_pool_asks_a_connection_whether_it_may_be_used_again() -> None:
    """`is_connected`, and it connects anew if not."""
    assert "is_connection_dropped(conn)" in inspect.getsource(urllib3.HTTPConnectionPool._get_conn)
    dropped = urllib3.util.connection.is_connection_dropped
    assert "not conn.is_connected" in inspect.getsource(dropped)


@pytest.mark.parametrize(
    ("base_url", "proxy_url", "kind"),
    [
        (BASE_URL, None, GatewayTLSConnection),
        (BASE_URL, "http://proxy.example:3128", GatewayTLSConnection),
        ("http://127.0.0.1/capi/openapi", None, GatewayConnection),
        ("http://127.0.0.1/capi/openapi", "http://proxy.example:3128", GatewayConnection),
    ],
)
def test_every_pool_has_our_connections_and_tls_context(
    base_url: str, proxy_url: str | None, kind: type[GatewayConnection]
) -> None:
    """Requests asks the adapter for the pool, then for its certificates."""
    config = EpayConfig(
        base_url, "a", SecretStr("k"), proxy_url=proxy_url, allow_plain_http=bool(proxy_url)
    )
    session = GatewaySession(config)
    request = session.prepare_request(requests.Request("POST", base_url, data=b"{}"))
    adapter = session.get_adapter(base_url)
    pool = adapter.get_connection_with_tls_context(request, True, proxies=session.proxies)
    adapter.cert_verify(pool, base_url, True, None)
    made = pool._get_conn()
    assert type(made) is kind
    if isinstance(made, HTTPSConnection):
        assert made.ssl_context is adapter._ssl_context
        assert made.ca_certs is None
