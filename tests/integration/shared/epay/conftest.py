"""Gateways and clients of one test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from shared.epay.client import EpayClient
from shared.epay.config import EpayConfig
from tests.support.scripted_gateway import KEY, Gateway, Handler


@pytest.fixture
def gateway() -> Iterator[Callable[..., Gateway]]:
    """Start gateways; stop them with the test. Takes a handler, or the bytes of every answer."""
    started: list[Gateway] = []

    def start(behaviour: Handler | bytes, context: ssl.SSLContext | None = None) -> Gateway:
        handler: Handler = (
            (lambda _g, _s, _r: behaviour) if isinstance(behaviour, bytes) else behaviour
        )
        started.append(Gateway(handler, context))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def client_for() -> Iterator[Callable[..., EpayClient]]:
    """Make clients; close them with the test."""
    made: list[EpayClient] = []

    def make(target: Gateway | str, **changes: Any) -> EpayClient:
        settings: dict[str, Any] = {
            "base_url": target if isinstance(target, str) else target.url,
            "account": "test2020@epay.com",
            "api_key": SecretStr(KEY),
            "connect_timeout": 30.0,
            "read_timeout": 30.0,
            "total_timeout": 60.0,
            **changes,
        }
        made.append(EpayClient(EpayConfig(**settings)))
        return made[-1]

    make.made = made  # type: ignore[attr-defined]
    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="session")
def tls_context(certificate: Path) -> ssl.SSLContext:
    """What a TLS gateway needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
