"""Proxies and certificates of the environment: which are used, and what is wrong with them."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import requests

from tap_compose.api.errors import ApiError, RunEndingError, TransientError
from tap_compose.api.transport import Transport
from tests.support.raw_server import AUTHORITY, kept, raw_server
from tests.support.tap_runs import command

if TYPE_CHECKING:
    from pathlib import Path


def _get(url: str = "https://api.example") -> bytes:
    transport = Transport(url, "a-token", user_agent="tests/1", timeout=5, max_concurrency=1)
    with closing(transport):
        return transport.get(f"{url}/teams")


def _problem(url: str = "https://api.example") -> ApiError:
    with pytest.raises(ApiError) as caught:
        _get(url)
    return caught.value


def _set_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for each in (name, name.lower()):
            monkeypatch.setenv(each, "" if name == "NO_PROXY" else proxy)


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


@pytest.mark.parametrize("refusal", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_refuses_gets_no_token(refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(lambda _: f"HTTP/1.1 {refusal}\r\n\r\n".encode()) as proxy:
        _set_proxy(monkeypatch, f"http://user:password@{proxy.address}")
        problem = _problem()
    assert isinstance(problem, TransientError)
    assert str(problem) == f"no connection to api.example by proxy '{proxy.address}': {refusal}"
    assert proxy.paths == ["api.example:443"]
    assert "Authorization" not in proxy.headers[0]


def _no_socks(*_: object, **__: object) -> None:  # what requests has without PySocks
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://127.0.0.1:3128 ", "it is not a valid URL"),
        ("http://proxy.example:port", "it is not a valid URL"),
        (
            "ftp://proxy.example",
            "Proxy URL had unsupported scheme ftp, should use http:// or https://",
        ),
        ("socks5h://proxy.example:1080", "Missing dependencies for SOCKS support."),
    ],
)
def test_a_proxy_that_cannot_be_used(
    proxy: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _no_socks)
    _set_proxy(monkeypatch, proxy)
    problem = _problem()
    assert isinstance(problem, RunEndingError)
    assert str(problem) == (
        f"the proxy '{proxy}' cannot be used: {reason}; correct HTTPS_PROXY or ALL_PROXY, or "
        "add the API's host to NO_PROXY"
    )


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "Could not find a suitable TLS CA certificate bundle, invalid path: {}"),
        ("bad", "no certificate or crl found"),
    ],
)
def test_certificates_that_cannot_be_read(
    name: str, reason: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("no PEM")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / name))
    with raw_server(lambda _: b"", tls=True) as server:
        problem = _problem(server.url)
    assert isinstance(problem, RunEndingError)
    path = tmp_path / name
    assert str(problem) == f"no secure connection to {server.address}: {reason.format(path)}"


def test_a_certificate_that_nobody_vouches_for() -> None:
    with raw_server(lambda _: b"", tls=True) as server:
        problem = _problem(server.url)
    assert isinstance(problem, RunEndingError)
    assert str(problem) == (
        f"no secure connection to {server.address}: certificate verify failed: "
        "unable to get local issuer certificate"
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"REQUESTS_CA_BUNDLE": "gone.pem"},
            "Could not find a suitable TLS CA certificate bundle, invalid path: gone.pem; ",
        ),
        (
            {"HTTPS_PROXY": "ftp://proxy.example", "https_proxy": "ftp://proxy.example"},
            "the proxy 'ftp://proxy.example' cannot be used: ",
        ),
    ],
)
def test_what_cannot_be_used_ends_the_run_at_once(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    begun = time.monotonic()
    config = tmp_path / "config.json"
    config.write_text('{"api_url": "https://api.example", "api_token": "a-token"}')
    environment |= {"NO_PROXY": "", "no_proxy": ""}
    output = command("--config", config, environment=environment)
    assert time.monotonic() - begun < 20
    assert output.status == 1
    assert expected in output.stderr
    assert "Traceback" not in output.stderr
    assert "retry" not in output.stderr
