from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tap_compose.sandbox.account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.tap_runs import Output, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _signals_stay() -> Iterator[None]:
    """A tap takes over the signals of its process; give them back."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in handlers.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose account nobody changes: twelve deployments, so every kind occurs."""
    with Sandbox(Size(deployments=12, events=1500, recipes=8, seed=7)) as running:
        yield running


@pytest.fixture(scope="session")
def account(sandbox: Sandbox) -> Account:
    return sandbox.account


@pytest.fixture(scope="session")
def whole(sandbox: Sandbox) -> Output:
    """A run over everything, with default settings."""
    return sync(config_for(sandbox))
