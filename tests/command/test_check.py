"""``--test``: its table and its exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose import streams
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import Output, command, config_for, discover, sync

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = sorted({entry["tap_stream_id"] for entry in discover()["streams"]} - {"coverage"})
SIZE = Size(deployments=3, events=20, recipes=2)


def _tested(sandbox: Sandbox, folder: Path, **settings: Any) -> Output:
    config = folder / "config.json"
    config.write_text(json.dumps({**config_for(sandbox), **settings}))
    return command("--config", config, "--test")


def _table(output: Output) -> dict[str, str]:
    """What the table says of each stream, ``yes`` or ``no`` and the reason."""
    lines = output.stderr.splitlines()
    (head,) = (place for place, line in enumerate(lines) if line.startswith("stream "))
    assert lines[head].split() == ["stream", "readable", "why", "not"]
    rows = (line.split(maxsplit=1) for line in lines[head + 1 : -1])
    return {name: " ".join(rest.split()) for name, rest in rows}


def test_every_stream_by_a_request_or_two(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = _tested(sandbox, tmp_path)
    assert (output.status, output.stdout) == (0, b"")
    assert output.stderr.startswith("stream ")
    assert _table(output) == dict.fromkeys(STREAMS, "yes")
    last = output.stderr.splitlines()[-1]
    assert last == f"the api_token works: {len(STREAMS)} of {len(STREAMS)} streams can be read"
    # Streams of the same path share their bodies.
    assert len(sandbox.log.paths) == len(
        {vars(each)["path"] for each in streams.STREAMS if "path" in vars(each)}
    )


def _one_line(output: Output) -> str:
    """The only error, beside what the SDK says of itself."""
    assert "Traceback" not in output.stderr
    (line,) = (line for line in output.stderr.splitlines() if "| ERROR " in line)
    return line


def test_a_wrong_token_is_one_line(tmp_path: Path, sandbox: Sandbox) -> None:
    output = _tested(sandbox, tmp_path, api_token="another-token-for-tests")
    assert (output.status, output.stdout) == (1, b"")
    line = _one_line(output)
    assert "the API rejects this api_token (HTTP 401 Unauthorized: invalid_token)" in line
    assert "another-token" not in line


def test_nobody_there_is_one_line(tmp_path: Path, sandbox: Sandbox) -> None:
    output = _tested(sandbox, tmp_path, api_url="http://127.0.0.1:9/2016-07", max_retries=0)
    assert output.status == 1
    assert "nothing responds at 127.0.0.1:9: check api_url and the network" in _one_line(output)


@pytest.mark.parametrize(("fail_on_skip", "status"), [(False, 0), (True, 1)])
def test_a_stream_that_this_token_may_not_read(
    fail_on_skip: bool, status: int, tmp_path: Path
) -> None:
    faults = [Fault("403", 1, "/billables"), Fault("401", 1, "/deployments/*/roles")]
    with Sandbox(SIZE, faults=faults) as sandbox:
        output = _tested(sandbox, tmp_path, fail_on_skip=fail_on_skip)
    table = _table(output)
    assert output.status == status
    assert (
        table["billables"]
        == "no this token may not read it (HTTP 403 Forbidden: struck by a fault)"
    )
    assert table["deployment_roles"].startswith(
        "no this token may not read it (HTTP 401 Unauthorized"
    )
    assert sum(each == "yes" for each in table.values()) == len(STREAMS) - 2
    assert output.stderr.endswith(
        f"the api_token works: {len(STREAMS) - 2} of {len(STREAMS)} streams can be read\n"
    )


def test_one_deployment_that_is_gone_does_not_count(tmp_path: Path) -> None:
    first = Account(SIZE).deployment_ids[0]
    with Sandbox(SIZE, faults=[Fault("404", 1, f"/deployments/{first}*")]) as sandbox:
        output = _tested(sandbox, tmp_path)
    assert output.status == 0
    assert set(_table(output).values()) == {"yes"}


def test_what_fails_makes_the_status_1(tmp_path: Path) -> None:
    faults = [Fault("503", 1, "/teams"), Fault("503", 1, "/deployments")]
    with Sandbox(SIZE, faults=faults) as sandbox:
        output = _tested(sandbox, tmp_path, max_retries=0)
    table = _table(output)
    assert output.status == 1
    assert table["teams"] == "no HTTP 503 Service Unavailable: struck by a fault"
    assert table["deployment_roles"].startswith("no the list of deployments cannot be read: HTTP")


def test_a_wrong_address_is_no_working_token(tmp_path: Path, sandbox: Sandbox) -> None:
    output = _tested(sandbox, tmp_path, api_url=f"{sandbox.url}/elsewhere")
    assert output.status == 1
    assert "api_url looks wrong" in _table(output)["accounts"]
    assert _table(output)["account_users"].startswith("no the list of accounts cannot be read: ")
    assert "| ERROR" not in output.stderr  # the table says it
    assert "\nno stream can be read" in output.stderr


def test_a_refused_list_of_accounts_is_a_skip_as_in_a_sync(tmp_path: Path) -> None:
    with Sandbox(SIZE, faults=[Fault("403", 1, "/accounts")]) as sandbox:
        tested = _tested(sandbox, tmp_path)
        synced = sync(config_for(sandbox), streams=["accounts", "account_users", "user"])
    reason = "HTTP 403 Forbidden: struck by a fault"
    assert _table(tested)["accounts"] == f"no this token may not read it ({reason})"
    assert _table(tested)["account_users"] == f"no the list of accounts cannot be read: {reason}"
    assert (tested.status, synced.status) == (0, 0)
    assert synced.rows.keys() == {"user"}


def test_an_account_without_deployments(tmp_path: Path) -> None:
    with Sandbox(Size(deployments=0, events=0)) as sandbox:
        output = _tested(sandbox, tmp_path)
    assert output.status == 0
    assert _table(output)["deployment_roles"] == "unknown no deployment to try it on"
    assert _table(output)["deployments"] == "yes"


def test_a_shard_tries_what_it_would_read(tmp_path: Path, sandbox: Sandbox) -> None:
    output = _tested(sandbox, tmp_path, deployment_shard="2/2")
    assert output.status == 0
    assert all(name.startswith("deployment_") for name in _table(output))


def test_a_deployment_that_does_not_exist_is_named(tmp_path: Path, sandbox: Sandbox) -> None:
    output = _tested(sandbox, tmp_path, deployment_ids=["no-such-id"])
    assert _table(output)["deployment_ids"] == "no the account has no deployment no-such-id"
