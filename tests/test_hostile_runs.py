"""Whole runs, as commands, with a server or surroundings that do not play along."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.tap_runs import command
from tests.wire_server import Asked, wire_server

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox
    from tests.tap_runs import Output

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def _run(tmp_path: Path, url: str, token: str, **environment: str) -> Output:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"api_url": url, "api_token": token}))
    return command("--config", config, environment=environment)


def test_a_run_with_early_hints_before_every_response(
    tmp_path: Path, sandbox: Sandbox, whole: Output
) -> None:
    def respond(asked: Asked) -> bytes:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        response = requests.get(sandbox.url + asked.path, headers=headers, timeout=60)
        body = response.content
        head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (response.status_code, len(body))
        return HINTS + head + body

    with wire_server(respond) as server:
        output = _run(tmp_path, f"http://{server.address}", sandbox.token)
    assert output.status == whole.status
    assert output.rows == whole.rows


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"REQUESTS_CA_BUNDLE": "gone.pem"},
            "cannot read certificates from gone.pem: No such file or directory; correct ",
        ),
        (
            {"HTTPS_PROXY": "ftp://proxy.example", "https_proxy": "ftp://proxy.example"},
            "ftp://proxy.example is not the URL of a proxy; correct HTTPS_PROXY or ALL_PROXY",
        ),
    ],
)
def test_surroundings_that_cannot_work_end_the_run_at_once(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    begun = time.monotonic()
    output = _run(
        tmp_path, "https://api.example", "a-token", NO_PROXY="", no_proxy="", **environment
    )
    assert time.monotonic() - begun < 20
    assert output.status == 1
    assert expected in output.stderr
    assert "Traceback" not in output.stderr
    assert "retry" not in output.stderr
