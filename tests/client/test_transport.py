"""One request: what is sent, and what comes of every kind of response."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests
import responses

from tap_compose.api import transport
from tap_compose.api.errors import ApiError, TransientError
from tests.support.clients import TOKEN, open_transport

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://api.example"


def _get(target: str = "/teams") -> bytes:
    with open_transport(URL) as opened:
        return opened.get(target)


def _error(url: str = URL) -> ApiError:
    with open_transport(url) as opened, pytest.raises(ApiError) as caught:
        opened.get("/teams")
    return caught.value


@responses.activate
def test_a_request_carries_token_and_user_agent_whatever_netrc_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine api.example login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    target = "/audit_events?older_than=2017-01-01T00%3A00%3A00%2B01%3A00"
    responses.get(f"{URL}{target}", body=b"{}")
    assert _get(target) == b"{}"
    assert dict(responses.calls[0].request.headers) == {
        "Authorization": f"Bearer {TOKEN}",
        "User-Agent": "tests/1",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }


@responses.activate
@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (requests.ConnectionError("reset"), ": reset"),
        (requests.ConnectionError(), ": ConnectionError"),
        (requests.ConnectTimeout(), " in 5 s"),
        (requests.ReadTimeout(), " in 5 s"),
        (requests.exceptions.SSLError("x"), ": x"),
    ],
)
def test_no_response(problem: Exception, reason: str) -> None:
    responses.get(f"{URL}/teams", body=problem)
    error = _error()
    assert type(error) is TransientError
    assert (error.status, str(error)) == (
        None,
        f"no complete response from api.example{reason}",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is refused elsewhere")
def test_a_host_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(4):  # nobody accepts them
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert str(_error(f"http://{address}")) == f"no complete response from {address} in 0.2 s"
