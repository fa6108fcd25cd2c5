"""Settings from the environment and from ``.env`` in the working directory."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tap_compose.settings import environment_config
from tap_compose.tap import TapCompose
from tests.support.tap_runs import catalog_of, command, config_for, named_pipe

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox

SCHEMA = TapCompose.all_settings()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TAP_COMPOSE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", SCHEMA["properties"])
def test_an_empty_variable_is_not_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"TAP_COMPOSE_{name.upper()}"
    for empty in ("", " ", "\t"):
        monkeypatch.setenv(variable, empty)
        assert environment_config(SCHEMA) == {}
        (tmp_path / ".env").write_text(f"{variable}='{empty}'\n")
        assert environment_config(SCHEMA) == {}
        (tmp_path / ".env").write_text(f"{variable}=1\n")
        assert environment_config(SCHEMA).keys() == {name}
        (tmp_path / ".env").unlink()


def test_empty_deployment_ids_mean_all_deployments(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "catalog").write_text(json.dumps(catalog_of("deployment_scalings")))
    environment = {
        "TAP_COMPOSE_API_TOKEN": sandbox.token,
        "TAP_COMPOSE_API_URL": sandbox.url,
        "TAP_COMPOSE_DEPLOYMENT_IDS": "",
        "TAP_COMPOSE_START_DATE": "",
        "TAP_COMPOSE_MAX_CONCURRENCY": "",
    }
    output = command("--config", "ENV", "--catalog", tmp_path / "catalog", environment=environment)
    ids = [row["deployment_id"] for row in output.rows["deployment_scalings"]]
    assert set(ids) == set(sandbox.account.deployment_ids) - {sandbox.account.leaving}


def test_a_list_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("a, b,,", '["a", "b"]'):
        monkeypatch.setenv("TAP_COMPOSE_DEPLOYMENT_IDS", text)
        assert environment_config(SCHEMA) == {"deployment_ids": ["a", "b"]}


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TAP_COMPOSE_MAX_RETRIES=1\nTAP_COMPOSE_API_TOKEN=file\n")
    monkeypatch.setenv("TAP_COMPOSE_MAX_RETRIES", "2")
    assert environment_config(SCHEMA) == {"max_retries": 2, "api_token": "file"}


def test_a_file_in_a_folder_above_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TAP_COMPOSE_API_URL=https://elsewhere.example\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert environment_config(SCHEMA) == {}


def test_the_file_sets_nothing_but_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://elsewhere.example\n")
    assert environment_config(SCHEMA) == {}
    assert "HTTPS_PROXY" not in os.environ


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TAP_COMPOSE_API_TOKEN=\xff\xfe\n")
    output = command("--config", "ENV", cwd=tmp_path)
    assert (output.status, output.stdout) == (1, b"")
    assert "Traceback" not in output.stderr
    assert output.stderr.count(".env cannot be read: 'utf-8' codec can't decode byte") == 1


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    pipe = named_pipe(tmp_path / ".env")
    writer = threading.Thread(target=pipe.write_text, args=("TAP_COMPOSE_MAX_RETRIES=3\n",))
    writer.start()
    assert environment_config(SCHEMA) == {"max_retries": 3}
    writer.join()


def test_inputs_may_be_pipes(sandbox: Sandbox, tmp_path: Path) -> None:
    texts = {
        "config": json.dumps(config_for(sandbox)),
        "catalog": json.dumps(catalog_of("user")),
        "state": "{}",
    }
    arguments: list[str] = []
    for name, text in texts.items():
        pipe = named_pipe(tmp_path / name)
        threading.Thread(target=pipe.write_text, args=(text,), daemon=True).start()
        arguments += [f"--{name}", str(pipe)]
    output = command(*arguments, timeout=60)
    assert output.status == 0, output.stderr
    assert output.rows.keys() == {"user"}
