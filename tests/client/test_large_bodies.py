"""Large bodies: how many are there at once, and how much memory they take."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tap_compose.api.client import MOST_BYTES, Request
from tap_compose.api.errors import RejectedError
from tests.support.clients import get, open_client
from tests.support.raw_server import bomb, kept, raw_server
from tests.support.tap_runs import peak_mib, piped

if TYPE_CHECKING:
    from pathlib import Path

LARGE = b'"%s"' % bytes(6 << 20).replace(b"\0", b"x")
GZIP = b"Content-Encoding: gzip\r\n"
FIT = MOST_BYTES // len(LARGE)


def test_no_more_is_sent_than_there_is_room_for() -> None:
    """Until the first are there, half as much is expected of a body."""
    fit_at_first = MOST_BYTES // (3 << 20)
    with (
        raw_server(lambda _: kept(LARGE)) as server,
        open_client(server.url, timeout=60, max_concurrency=64) as client,
    ):
        responses = client.get_many(Request(f"/{number}", len) for number in range(40))
        for taken in range(40):
            time.sleep(0.2 if taken in {0, fit_at_first} else 0.01)
            assert len(server.paths) - taken <= (fit_at_first if taken < fit_at_first else FIT)
            assert next(responses)[1] == len(LARGE)
    assert len(server.paths) == 40


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_body_that_is_too_large(is_packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_compose.api.transport.LARGEST_BODY", 4 << 20)
    response = kept(bomb(64 << 20), headers=GZIP) if is_packed else kept(bytes(64 << 20))
    with (
        raw_server(lambda _: response) as server,
        open_client(server.url, max_concurrency=1) as client,
    ):
        tracemalloc.start()
        with pytest.raises(RejectedError) as caught:
            get(client, Request("/", len))
        rest, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert str(caught.value) == f"the response of {server.address} is larger than 4 MiB"
    assert peak < 7 << 20
    assert rest < 1 << 20  # though the traceback of the error is still there


PAGE = '{"id":"%024x","name":"%s","template":"%s","status":"complete","_embedded":{"recipes":[]}}'


def _respond(path: str) -> bytes:
    if path.endswith("/recipes"):
        return _RECIPES
    if path.partition("?")[0] == "/deployments":
        entries = [{"id": f"{place:024x}", "account_id": "a"} for place in range(100)]
        return kept(json.dumps({"_embedded": {"deployments": entries}}).encode())
    return kept(json.dumps({"_embedded": {"accounts": [{"id": "a"}]}}).encode())


_RECIPES = kept(
    b'{"_embedded":{"recipes":[%s]}}'
    % ",".join(PAGE % (place, "n" * 300, "t" * 200) for place in range(5000)).encode()
)
"""A body of 3 MB."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("pause", [0, 8])
@pytest.mark.parametrize(("max_concurrency", "most"), [(8, 140), (64, 200)])
def test_the_memory_that_many_large_bodies_take(
    max_concurrency: int, most: int, pause: float, tmp_path: Path
) -> None:
    """Also with a target that does not read for some seconds."""
    with raw_server(_respond) as server:
        config = {
            "api_url": server.url,
            "api_token": "token",
            "max_concurrency": max_concurrency,
        }
        with piped(tmp_path, config, "deployment_recipes") as tap:
            assert tap.stdout is not None
            records, peak = 0, 0.0
            for line in tap.stdout:
                records += line.startswith(b'{"type":"RECORD"')
                if records == 1:
                    time.sleep(pause)
                if records % 5000 == 0:
                    peak = peak_mib(tap.pid)
    assert tap.returncode == 0
    assert records == 500_000
    print(f"peak: {peak:.0f} MiB")  # noqa: T201
    assert peak <= most
