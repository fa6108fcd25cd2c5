"""The checks of the SDK and of singer-tools, over the sandbox."""

from __future__ import annotations

import atexit
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.tap import TapCompose
from tests.support.tap_runs import config_for

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

CHECK = Path(".venvs/singer-tools/bin/singer-check-tap")

# The suite makes its cases from a tap while tests are collected, before any fixture.
_stack = ExitStack()
atexit.register(_stack.close)
_sandbox = _stack.enter_context(Sandbox(Size(deployments=4, events=250, recipes=4)))

TestTapCompose = get_tap_test_class(
    TapCompose,
    config=config_for(_sandbox, include_connection_strings=True),
    suite_config=SuiteConfig(max_records_limit=500),
    parse_env_config=False,
)


def test_singer_check_tap_accepts_the_output(whole: Output) -> None:
    assert CHECK.exists(), "make test sets this up"
    process = subprocess.run([CHECK], input=whole.stdout, capture_output=True, check=False)
    report = process.stdout.decode() + process.stderr.decode()
    assert process.returncode == 0, report
    assert f"{len(whole.messages)} messages" in report
    assert "Traceback" not in report
