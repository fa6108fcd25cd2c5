"""No token and no password in any line, whatever goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import command, config_for, input_files

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "sandbox-password-"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"api_token": "another-token-for-tests"},
        {"api_token": 918273645},
        {"api_url": "http://127.0.0.1:9"},
    ],
    ids=str,
)
def test_no_secret_in_any_line_at_debug_level(
    change: dict[str, Any], tmp_path: Path, sandbox: Sandbox
) -> None:
    config = {**config_for(sandbox, max_retries=0), **change}
    output = command(*input_files(tmp_path, config=config), environment={"LOGLEVEL": "DEBUG"})
    text = output.stdout.decode() + output.stderr
    assert ("| DEBUG " in output.stderr) or output.status == 1
    for secret in (str(config["api_token"]), sandbox.token, PASSWORD, "Bearer", "Authorization"):
        assert secret not in text


@pytest.mark.parametrize("fault", ["500", "reset", "null", "redirect", "dead-token:20", "422"])
def test_no_secret_in_any_line_whatever_fails(fault: str, tmp_path: Path) -> None:
    faults = [Fault.parse(fault if ":" in fault else f"{fault}:0.5")]
    with Sandbox(Size(deployments=3, events=50, recipes=2), faults=faults) as sandbox:
        files = input_files(tmp_path, config=config_for(sandbox, max_retries=0))
        output = command(*files, environment={"LOGLEVEL": "DEBUG"})
        text = output.stdout.decode() + output.stderr
        assert output.status == 1
        assert "Traceback" not in text
        for secret in (sandbox.token, PASSWORD, "Bearer", "Authorization"):
            assert secret not in text


def test_passwords_go_to_stdout_only_when_asked_for(tmp_path: Path, sandbox: Sandbox) -> None:
    config = config_for(sandbox, include_connection_strings=True)
    output = command(*input_files(tmp_path, config=config), environment={"LOGLEVEL": "DEBUG"})
    assert output.status == 0
    assert PASSWORD in output.stdout.decode()
    assert PASSWORD not in output.stderr
    assert PASSWORD not in json.dumps([each["value"] for each in output.of_type("STATE")])
