"""The SDK's own suite over the sandbox."""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.tap import TapCompose
from tests.support.tap_runs import config_for

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
