"""No token and no password in any line, whatever goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import command, config_for, input_files

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "sandbox-password-"
DEBUG = {"LOGLEVEL": "DEBUG"}


FAULTS = (
    "500:1:/deployments/*/alerts",
    "reset:1:/deployments/*/backups",
    "null:1:/deployments/*/roles",
    "redirect:1:/teams",
    "422:1:/clusters",
)


@pytest.mark.parametrize("faults", [FAULTS, ("dead-token:20",)], ids=["many", "dead token"])
def test_no_secret_in_any_line_whatever_fails(faults: tuple[str, ...], tmp_path: Path) -> None:
    parsed = [Fault.parse(each) for each in faults]
    with Sandbox(Size(deployments=3, events=50, recipes=2), faults=parsed) as sandbox:
        files = input_files(tmp_path, config=config_for(sandbox, max_retries=0))
        output = command(*files, environment=DEBUG)
        assert {kind for kind, _ in sandbox.faults.struck} == {each.kind for each in parsed}
    text = output.stdout.decode() + output.stderr
    assert output.status == 1
    assert "| DEBUG " in output.stderr
    assert "Traceback" not in text
    for secret in (sandbox.token, PASSWORD, "Bearer", "Authorization"):
        assert secret not in text


def test_passwords_go_to_stdout_only_when_asked_for(tmp_path: Path, sandbox: Sandbox) -> None:
    config = config_for(sandbox, include_connection_strings=True)
    output = command(*input_files(tmp_path, config=config), environment=DEBUG)
    assert output.status == 0
    assert PASSWORD in output.stdout.decode()
    assert PASSWORD not in output.stderr
    assert PASSWORD not in json.dumps([each["value"] for each in output.of_type("STATE")])
