"""Proxies, certificates and passwords of the environment: which are used, and which are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tap_compose.api.errors import ApiError, RunEndingError, TransientError
from tests.support.clients import TOKEN, open_transport
from tests.support.raw_server import AUTHORITY, kept, raw_server

if TYPE_CHECKING:
    from pathlib import Path


UNTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"


def _get(url: str) -> bytes:
    with open_transport(url) as transport:
        return transport.get("/teams")


def _problem(url: str = "https://api.example") -> ApiError:
    with pytest.raises(ApiError) as caught:
        _get(url)
    return caught.value


def _set_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for each in (name, name.lower()):
            monkeypatch.setenv(each, "" if name == "NO_PROXY" else proxy)


def test_a_request_carries_token_and_user_agent_whatever_netrc_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with raw_server(lambda _: kept(b"{}")) as server:
        assert _get(server.url) == b"{}"
    assert dict(server.headers[0]) == {
        "Host": server.address,
        "Authorization": f"Bearer {TOKEN}",
        "User-Agent": "tests/1",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("tls", [False, True])
def test_this_machine_is_asked_without_a_proxy(
    tls: bool, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with (
        raw_server(lambda _: b"") as proxy,
        raw_server(lambda _: kept(b"{}"), tls=tls) as server,
    ):
        _set_proxy(monkeypatch, proxy.url)
        assert _get(server.url.replace("127.0.0.1", host)) == b"{}"
    assert proxy.paths == []


def test_a_proxy_that_refuses_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = "407 Proxy Authentication Required"
    with raw_server(lambda _: f"HTTP/1.1 {refusal}\r\n\r\n".encode()) as proxy:
        _set_proxy(monkeypatch, f"http://user:password@{proxy.address}")
        problem = _problem()
    assert isinstance(problem, TransientError)
    assert str(problem) == (
        f"no complete response from api.example by proxy '{proxy.address}': "
        f"Tunnel connection failed: {refusal}"
    )
    assert proxy.paths == ["api.example:443"]
    assert "Authorization" not in proxy.headers[0]


def _no_socks(*_: object, **__: object) -> None:  # what requests has without PySocks
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("127.0.0.1:3128 ", "Host '127.0.0.1:3128 ' contains invalid character ' '"),
        ("proxy.example:port", "Failed to parse: 'proxy.example:port' is not a valid host or port"),
        ("socks5h://proxy.example:1080", "Missing dependencies for SOCKS support."),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(
    proxy: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _no_socks)
    has_scheme = "://" in proxy
    _set_proxy(monkeypatch, proxy if has_scheme else f"http://user:password@{proxy}")
    problem = _problem()
    assert isinstance(problem, TransientError)
    assert str(problem).startswith(f"no complete response from api.example by proxy '{proxy}': ")
    assert reason in str(problem)
    assert "password" not in str(problem)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad", "[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found"),
        ("default", f"{UNTRUSTED}: unable to get local issuer certificate"),
        ("gone", "Could not find a suitable TLS CA certificate bundle, invalid path: "),
    ],
)
def test_certificates_that_cannot_be_read_or_verified_end_the_run(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("no PEM")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if name != "default":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
    with raw_server(lambda _: b"", tls=True) as server:
        problem = _problem(server.url)
    assert isinstance(problem, RunEndingError)
    assert str(problem).startswith(f"no secure connection to {server.address}: {reason}")
