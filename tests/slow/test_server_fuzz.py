"""Whatever a server makes of HTTP: the rows are right, or the exit status is 1."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has the memory taken in /proc"
)


def _fuzz(*arguments: str) -> dict[str, Any]:
    """Run it in a process of its own, whose memory is only its own."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.server_fuzz", *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-5000:]
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def _check(result: dict[str, Any], servers: int) -> None:
    assert result["right"] + result["failed"] >= servers
    assert result["right"] > servers / 10
    assert result["failed"] > servers / 10
    assert result["peak_mib"] < 400


def test_fifteen_servers() -> None:
    _check(_fuzz("15", "--same"), 15)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_a_thousand_servers(part: int) -> None:
    result = _fuzz("200")
    print(part, result)  # noqa: T201
    _check(result, 200)
