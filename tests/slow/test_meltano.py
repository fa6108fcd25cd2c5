"""What meltano.yml promises, kept by the real Meltano with the sandbox for an API."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams import STREAMS
from tests.pages.test_privacy import sensitive_texts_in
from tests.support import ROOT, pages
from tests.support.expected import expected_rows
from tests.support.tap_runs import config_for, sqlalchemy_url, sync
from tests.support.target_runs import in_tokyo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.slow

MELTANO = ROOT / ".venvs" / "meltano"
SANDBOX = Path(sys.executable).with_name("compose-sandbox")
STATE = "dev:tap-compose-to-target-jsonl"
OURS = ("MELTANO_", "TAP_COMPOSE_", "TARGET_")


@dataclass(frozen=True)
class Project:
    """A Meltano project: what the repository holds, in a folder of its own."""

    folder: Path
    environment: dict[str, str]

    def meltano(
        self, *arguments: str, before: Sequence[str] = (), status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            [*before, MELTANO / "bin" / "meltano", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert process.returncode == status, process.stdout + process.stderr
        return process

    def with_environment(self, **environment: str) -> Project:
        return replace(self, environment={**self.environment, **environment})

    def loaded(self) -> dict[str, list[dict[str, Any]]]:
        """The rows that target-jsonl wrote in one run, without coverage; they are gone then."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for path in (self.folder / "output").glob("*.jsonl"):
            stream = path.name.split("-")[0]
            assert stream not in rows
            lines = path.read_text().splitlines()
            rows[stream] = [json.loads(line, parse_float=Decimal) for line in lines]
            path.unlink()
        rows.pop("coverage", None)
        return rows

    def state(self, state_id: str = STATE) -> Any:
        return json.loads(self.meltano("state", "get", state_id).stdout)["singer_state"]


def install(folder: Path, installed: str, *ours: str) -> Project:
    """Run ``meltano install`` in a project, without variables that begin as given or as OURS."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith((*OURS, *ours))}
    own = {
        "NO_COLOR": "1",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        "MELTANO_HUB_URL": "http://127.0.0.1:9",  # nothing may need the Hub
    }
    project = Project(folder, {**clean, **own})
    result = project.meltano("install")
    assert f"Installed {installed} plugins" in result.stdout + result.stderr
    return project


@pytest.fixture(scope="module")
def small() -> Iterator[Sandbox]:
    with Sandbox(Size(deployments=3, events=300, recipes=4)) as running:
        yield running


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after ``meltano install``."""
    folder = tmp_path_factory.mktemp("meltano") / "project"
    folder.mkdir()
    for name in ("meltano.yml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    package = folder / "tap_compose"
    shutil.copytree(ROOT / "tap_compose", package, ignore=shutil.ignore_patterns("__pycache__"))
    return install(folder, "4/5")  # an inherited extractor has nothing to install


@pytest.fixture
def project(installed: Project, small: Sandbox, tmp_path: Path) -> Iterator[Project]:
    """The installed project, with no state, nothing loaded, and the sandbox in its environment."""
    shutil.rmtree(installed.folder / "output", ignore_errors=True)
    small.log.clear()
    yield installed.with_environment(
        MELTANO_DATABASE_URI=f"sqlite:///{tmp_path}/meltano.db",
        TAP_COMPOSE_API_URL=small.url,
        TAP_COMPOSE_API_TOKEN=small.token,
    )
    shutil.copy(ROOT / "meltano.yml", installed.folder)


def test_config(project: Project, small: Sandbox) -> None:
    project.meltano("config", "set", "tap-compose", "lookback_seconds", "30")
    ids = small.account.deployment_ids[:2]
    project = project.with_environment(
        TAP_COMPOSE_START_DATE="2018-01-01T12:30:00Z",
        TAP_COMPOSE_DEPLOYMENT_IDS=json.dumps(ids),
        TAP_COMPOSE_INCLUDE_CONNECTION_STRINGS="true",
        TAP_COMPOSE_STREAM_MAPS='{"teams": null}',
    )
    config = json.loads(project.meltano("config", "print", "tap-compose").stdout)
    assert set(config.pop("api_token")) == {"*"}
    assert config == {
        "api_url": small.url,
        "start_date": "2018-01-01T12:30:00Z",
        "deployment_ids": ids,
        "max_concurrency": 8,
        "request_timeout": 60,
        "max_retries": 8,
        "fail_on_skip": False,
        "lookback_seconds": 30,
        "include_connection_strings": True,
        "emit_activate_version_messages": False,
        "stream_maps": {"teams": None},
    }
    for extractor in ("tap-compose", "tap-compose-audit"):
        assert "is valid" in project.meltano("config", "test", extractor).stdout


def test_columns_are_left_out_as_the_page_of_privacy_shows(
    project: Project, small: Sandbox
) -> None:
    block, _undone = pages.blocks("docs/privacy.md", "Leave columns out")
    for command, _ in block.commands:
        project.meltano(*shlex.split(command)[1:])
    settings = {"include_connection_strings": True}
    project = project.with_environment(TAP_COMPOSE_INCLUDE_CONNECTION_STRINGS="true")
    project.meltano("run", "tap-compose", "target-jsonl")
    expected = sync(config_for(small, **settings)).rows
    del expected["account_users"]
    for stream, column in (("audit_events", "email"), ("deployment_details", "connection_strings")):
        for row in expected[stream]:
            del row[column]
    assert project.loaded() == expected


def _maps_of(page: str) -> dict[str, Any]:
    """The last config with stream maps on a page."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    config = json.loads(next(each for each in reversed(blocks) if "stream_maps" in each))
    return {name: config[name] for name in ("stream_maps", "stream_map_config") if name in config}


@pytest.mark.parametrize(
    ("page", "store"), [("privacy.md", []), ("targets.md", ["--store=dotenv"])]
)
def test_the_maps_of_the_pages_do_what_they_do_without_meltano(
    page: str, store: list[str], project: Project, small: Sandbox
) -> None:
    maps = _maps_of(page)
    for name, value in maps.items():
        project.meltano("config", "set", *store, "tap-compose", name, json.dumps(value))
    project.meltano("run", "tap-compose", "target-jsonl")
    (project.folder / ".env").unlink(missing_ok=True)
    rows = project.loaded()
    assert rows == sync(config_for(small, **maps)).rows
    if page == "privacy.md":
        assert sensitive_texts_in(rows, sync(config_for(small)).rows) == set()


def test_the_second_run_goes_on_where_the_first_ended(project: Project) -> None:
    with Sandbox(account=Account(Size(deployments=2, events=300, recipes=4))) as growing:
        config = config_for(growing, max_retries=8)
        project = project.with_environment(
            TAP_COMPOSE_API_URL=growing.url, TAP_COMPOSE_API_TOKEN=growing.token
        )
        whole = sync(config)
        project.meltano("run", "tap-compose", "target-jsonl")
        assert project.loaded() == whole.rows
        assert project.meltano("state", "list").stdout.split() == [STATE]
        assert project.state() == whole.state

        added = [growing.account.events.add(NOW + timedelta(hours=hours)) for hours in (1, 2)]
        project.meltano("run", "tap-compose", "target-jsonl")
        again = sync(config, state=whole.state)
        rows = project.loaded()
        assert rows == again.rows
        assert [row["id"] for row in rows["audit_events"][-2:]] == added
        assert len(rows["audit_events"]) < 10
        assert 0 < len(rows["deployment_recipes"]) < len(whole.rows["deployment_recipes"])
        assert project.state() == again.state != whole.state

        project.meltano("run", "--full-refresh", "tap-compose", "target-jsonl")
        assert project.loaded() == sync(config).rows


def test_a_run_that_fails(project: Project, small: Sandbox) -> None:
    sandbox = [str(SANDBOX), "run", "--deployments=3", "--events=300", "--recipes=4"]
    struck = [*sandbox, "--faults", "503:1:/deployments/*/alerts", "--"]
    run = ("run", "tap-compose", "target-jsonl")
    hasty = project.with_environment(TAP_COMPOSE_MAX_RETRIES="0")
    stderr = hasty.meltano(*run, before=struck, status=1).stderr
    assert "Extractor failed" in stderr
    assert re.search(rf"\[error.* incomplete with .* rows from {len(STREAMS)} streams, ", stderr)
    whole = sync(config_for(small))
    missing = {"deployment_alerts", "deployment_health"}
    arrived = project.loaded()
    assert arrived == {name: rows for name, rows in whole.rows.items() if name not in missing}
    assert project.state(f"{STATE}:sandbox") == whole.state
    project.meltano(*run)  # which is not behind the sandbox, and has a state apart from it
    assert project.loaded() == whole.rows


def test_jobs_and_schedules(project: Project, small: Sandbox, database: str) -> None:
    listed = json.loads(project.meltano("schedule", "list", "--format=json").stdout)["schedules"]
    assert [
        (each["name"], each["cron_interval"], each["job"]["name"]) for each in listed["job"]
    ] == [
        ("daily", "0 0 * * *", "compose-to-jsonl"),
        ("audit", "*/15 * * * *", "audit-to-postgres"),
    ]
    in_tokyo(database)
    url = sqlalchemy_url(database)
    project.with_environment(TARGET_POSTGRES_SQLALCHEMY_URL=url).meltano("schedule", "run", "audit")
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT count(*), max(created_at) FROM compose.audit_events")
        last = expected_rows(small.account)["audit_events"][-1]["created_at"]
        assert found.fetchone() == (300, datetime.strptime(last, "%Y-%m-%dT%H:%M:%S.%fZ"))
    assert small.log.counts.keys() == {"/audit_events"}
    for runs in (1, 2):
        project.meltano("schedule", "run", "daily")
        files = (project.folder / "output").glob("deployments-*.jsonl")
        assert [len(each.read_text().splitlines()) for each in files] == [3] * runs
