"""Reading a stream without a sync: its rows, and what belongs to which deployment."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pytest
import responses

from tap_compose.report import Scope
from tap_compose.streams import STREAMS
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import key, schema
from tap_compose.tap import TapCompose
from tests.support.expected import expected_rows
from tests.support.tap_runs import catalog_of, config_for, sync

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


class ClusterHosts(AccountStream):
    """A third kind of stream: one request per cluster."""

    name = "cluster_hosts"
    path = "/clusters/{}/hosts"
    list_path = "/clusters"
    id_column = "cluster_id"
    scope = Scope.DEPLOYMENT
    envelope = ("hosts",)
    primary_keys = ("cluster_id", "name")
    schema = schema(key("cluster_id", "Cluster."), key("name", "Host name."))


def test_a_stream_of_a_third_kind_is_one_class(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tap_compose.tap.STREAMS", (*STREAMS, ClusterHosts))
    url = "http://127.0.0.1:9"
    config = {"api_url": url, "api_token": "a-token-for-tests"}
    clusters = {"_embedded": {"clusters": [{"id": "c1"}, {"id": "c2"}]}}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as api:
        api.get(f"{url}/clusters", json=clusters)
        api.get(f"{url}/clusters/c1/hosts", json={"_embedded": {"hosts": [{"name": "h"}]}})
        api.get(f"{url}/clusters/c2/hosts", status=404)
        output = sync(config, streams=["cluster_hosts"])
        tap = TapCompose(config=config, catalog=catalog_of("cluster_hosts"))
        assert tap.test_and_report() == 0
    assert output.status == 0
    assert output.rows == {"cluster_hosts": [{"cluster_id": "c1", "name": "h"}]}
    (missing,) = output.missing
    assert missing[:3] == ("skipped", "cluster_hosts", "")
    assert missing[3].startswith("cluster c2: it no longer exists")
    assert "1 of 1 stream can be read" in capsys.readouterr().err
