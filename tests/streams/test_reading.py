"""Reading a stream without a sync: its rows, and what belongs to which deployment."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pytest

from tap_compose.tap import TapCompose
from tests.support.expected import expected_rows
from tests.support.tap_runs import config_for

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox
    from tap_compose.streams.base import ComposeStream


def _stream(sandbox: Sandbox, name: str) -> ComposeStream:
    return cast("ComposeStream", TapCompose(config=config_for(sandbox)).streams[name])


def test_get_records_yields_the_rows_of_the_stream_or_of_a_deployment(sandbox: Sandbox) -> None:
    expected = expected_rows(sandbox.account)
    assert list(_stream(sandbox, "clusters").get_records(None)) == expected["clusters"]
    assert (
        list(_stream(sandbox, "deployment_roles").get_records(None))
        == (expected["deployment_roles"])
    )
    stream = _stream(sandbox, "deployment_roles")
    for partition in (stream.partitions or [])[:2]:
        assert list(stream.get_records(partition)) == [
            row
            for row in expected["deployment_roles"]
            if row["deployment_id"] == partition["deployment_id"]
        ]


@pytest.mark.parametrize("left_out", [0, 11], ids=["the first", "the last"])
def test_no_row_goes_out_under_another_deployment(left_out: int, sandbox: Sandbox) -> None:
    stream: Any = _stream(sandbox, "deployment_roles")
    partitions = stream.partitions
    assert len(partitions) == 12
    requests = [each for n, each in enumerate(stream.requests()) if n != left_out]
    stream.requests = lambda: iter(requests)
    for partition in islice(partitions, left_out):
        list(stream.get_records(partition))
    with pytest.raises(RuntimeError):
        list(stream.get_records(partitions[left_out]))
