"""The Meltano project of ``examples/dbt``: from the sandbox to answers in one job."""

from __future__ import annotations

import shutil

import duckdb
import psycopg
import pytest
import yaml

from tests.examples.test_dbt import MARTS
from tests.slow.test_meltano import SANDBOX, Project, install
from tests.support import ROOT
from tests.support.tap_runs import sqlalchemy_url

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "dbt"
BEHIND_THE_SANDBOX = [str(SANDBOX), "run", "--deployments=3", "--events=300", "--recipes=4", "--"]
WRITTEN = shutil.ignore_patterns(
    "__pycache__", ".meltano", "logs", "output", "target", "*.duckdb", "answers.html", ".user.yml"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example after ``meltano install``, in a copy of the repository."""
    folder = tmp_path_factory.mktemp("meltano") / "repository"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tap_compose", folder / "tap_compose", ignore=WRITTEN)
    shutil.copytree(EXAMPLE, folder / "examples" / "dbt", ignore=WRITTEN)
    return install(folder / "examples" / "dbt", "4/4", "DBT_")


def test_a_job_loads_files_and_builds_answers(project: Project) -> None:
    for _ in range(2):  # the second one is incremental
        project.meltano("run", "compose-to-answers", before=BEHIND_THE_SANDBOX)
    with duckdb.connect(str(project.folder / "compose.duckdb"), read_only=True) as connection:
        for mart in MARTS:
            assert connection.sql(f"SELECT * FROM answers.{mart}").fetchall()  # noqa: S608
    assert len(list(project.folder.glob("output/deployments-*.jsonl"))) == 2
    assert "Not assessed" in (project.folder / "answers.html").read_text()


def test_a_job_loads_postgresql_and_builds_answers(project: Project, database: str) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(database)
    project = project.with_environment(
        TARGET_POSTGRES_SQLALCHEMY_URL=sqlalchemy_url(database),
        TARGET_POSTGRES_HOST=str(parts["host"]),
        TARGET_POSTGRES_USER=str(parts["user"]),
        TARGET_POSTGRES_DATABASE=str(parts["dbname"]),
    )
    project.meltano("run", "compose-to-answers-postgres", before=BEHIND_THE_SANDBOX)
    with psycopg.connect(database) as connection:
        query = "SELECT count(*) FROM answers.controls WHERE control = 'healthy'"
        count = connection.execute(query).fetchone()
    assert count == (3,)


def test_the_plugins_are_those_that_are_tested() -> None:
    plugins = yaml.safe_load((EXAMPLE / "meltano.yml").read_text())["plugins"]
    for each in [*plugins["loaders"], *plugins["utilities"]]:
        assert each["pip_url"].split() == (ROOT / f"locks/{each['name']}.in").read_text().split()
