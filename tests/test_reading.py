"""Reading a stream without a sync: its rows, and what belongs to which deployment."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.tap import TapCompose
from tests.expected import expected_rows
from tests.tap_runs import config_for

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox
    from tap_compose.streams.base import ComposeStream


def _stream(sandbox: Sandbox, name: str) -> ComposeStream:
    return TapCompose(config=config_for(sandbox)).streams[name]


def test_get_records_yields_rows(sandbox: Sandbox) -> None:
    stream = _stream(sandbox, "clusters")
    assert list(stream.get_records(None)) == expected_rows(sandbox.account)["clusters"]


def test_get_records_yields_the_rows_of_a_deployment(sandbox: Sandbox) -> None:
    stream = _stream(sandbox, "deployment_roles")
    stream.prepare()
    (first, second) = (stream.partitions or [])[:2]
    rows = expected_rows(sandbox.account)["deployment_roles"]
    for partition in (first, second):
        assert list(stream.get_records(partition)) == [
            row for row in rows if row["deployment_id"] == partition["deployment_id"]
        ]


@pytest.mark.parametrize("left_out", [0, 11], ids=["the first", "the last"])
def test_no_row_goes_out_under_another_deployment(left_out: int, sandbox: Sandbox) -> None:
    stream: Any = _stream(sandbox, "deployment_roles")
    stream.prepare()
    partitions = stream.partitions
    assert len(partitions) == 12
    requests = [each for n, each in enumerate(stream.requests()) if n != left_out]
    stream.requests = lambda: iter(requests)
    for partition in islice(partitions, left_out):
        list(stream.get_records(partition))
    wanted = f"no response came for deployment {partitions[left_out]['deployment_id']}"
    with pytest.raises(RuntimeError, match=wanted):
        list(stream.get_records(partitions[left_out]))


def test_looking_at_streams_sends_no_request(sandbox: Sandbox) -> None:
    sandbox.log.clear()
    tap = TapCompose(config=config_for(sandbox))
    for stream in tap.streams.values():
        for cls in type(stream).__mro__:
            if cls.__module__.startswith("tap_compose."):
                for name, member in vars(cls).items():
                    if isinstance(member, property) or hasattr(member, "func"):
                        getattr(stream, name)
    assert sandbox.log.paths == []
