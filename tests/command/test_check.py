"""``--test``: its table and its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_compose import streams
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.tap import TapCompose
from tests.support.tap_runs import command, config_for, discover, input_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Tried = Callable[..., tuple[int, dict[str, str]]]

STREAMS = sorted({entry["tap_stream_id"] for entry in discover()["streams"]} - {"coverage"})
SIZE = Size(deployments=3, events=20, recipes=2)


def _table(text: str) -> dict[str, str]:
    """What the table says of each stream, ``yes`` or ``no`` and the reason."""
    lines = text.splitlines()
    (head,) = (place for place, line in enumerate(lines) if line.startswith("stream "))
    assert lines[head].split() == ["stream", "readable", "why", "not"]
    rows = (line.split(maxsplit=1) for line in lines[head + 1 : -1])
    return {name: " ".join(rest.split()) for name, rest in rows}


@pytest.fixture
def tried(capsys: pytest.CaptureFixture[str]) -> Tried:
    """Try an account in this process; returns the exit status and the table."""

    def run(sandbox: Sandbox, **settings: Any) -> tuple[int, dict[str, str]]:
        status = TapCompose(config=config_for(sandbox, **settings)).test_and_report()
        return status, _table(capsys.readouterr().err)

    return run


def test_every_stream_by_a_request_or_two(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = command(*input_files(tmp_path, config=config_for(sandbox)), "--test")
    assert (output.status, output.stdout) == (0, b"")
    assert output.stderr.startswith("stream ")
    assert _table(output.stderr) == dict.fromkeys(STREAMS, "yes")
    last = output.stderr.splitlines()[-1]
    assert last == f"the api_token works: {len(STREAMS)} of {len(STREAMS)} streams can be read"
    # Streams of the same path share their bodies.
    assert len(sandbox.log.paths) == len(
        {vars(each)["path"] for each in streams.STREAMS if "path" in vars(each)}
    )


def test_a_wrong_token_is_one_line(tmp_path: Path, sandbox: Sandbox) -> None:
    config = config_for(sandbox, api_token="another-token-for-tests")
    output = command(*input_files(tmp_path, config=config), "--test")
    assert (output.status, output.stdout) == (1, b"")
    assert "Traceback" not in output.stderr
    (line,) = (line for line in output.stderr.splitlines() if "| ERROR " in line)
    assert "the API rejects this api_token (HTTP 401 Unauthorized: invalid_token)" in line
    assert "another-token" not in line


REFUSED = "no this token may not read it (HTTP 403 Forbidden: struck by a fault)"
WITHOUT_ACCOUNTS = "no the list of accounts cannot be read: HTTP 403 Forbidden: struck by a fault"
FAILED = "HTTP 503 Service Unavailable: struck by a fault"


@pytest.mark.parametrize(
    ("faults", "settings", "status", "unreadable"),
    [
        (["403:1:/billables"], {}, 0, {"billables": REFUSED}),
        (["403:1:/billables"], {"fail_on_skip": True}, 1, {"billables": REFUSED}),
        (["403:1:/accounts"], {}, 0, {"accounts": REFUSED, "account_users": WITHOUT_ACCOUNTS}),
        ([f"404:1:/deployments/{Account(SIZE).deployment_ids[0]}*"], {}, 0, {}),  # one that is gone
        (
            ["503:1:/deployments"],
            {},
            1,
            {
                "deployments": f"no {FAILED}",
                **dict.fromkeys(
                    [each for each in STREAMS if each.startswith("deployment_")],
                    f"no the list of deployments cannot be read: {FAILED}",
                ),
            },
        ),
    ],
    ids=["refused", "fail_on_skip", "accounts", "one deployment", "deployments"],
)
def test_what_cannot_be_read(
    faults: list[str],
    settings: dict[str, Any],
    status: int,
    unreadable: dict[str, str],
    tried: Tried,
) -> None:
    with Sandbox(SIZE, faults=[Fault.parse(each) for each in faults]) as sandbox:
        found, table = tried(sandbox, max_retries=0, **settings)
    assert found == status
    assert {name: why for name, why in table.items() if why != "yes"} == unreadable


def test_deployments_that_there_are_not(tried: Tried, sandbox: Sandbox) -> None:
    _, table = tried(sandbox, deployment_ids=["no-such-id"])
    assert table["deployment_ids"] == "no the account has no deployment no-such-id"
    status, table = tried(sandbox, deployment_shard="2/2")
    assert status == 0
    assert all(name.startswith("deployment_") for name in table)
    with Sandbox(Size(deployments=0, events=0)) as empty:
        status, table = tried(empty)
    assert status == 0
    assert table["deployment_roles"] == "unknown no deployment to try it on"
    assert table["deployments"] == "yes"
