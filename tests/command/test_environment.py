"""Settings from the environment and from ``.env`` in the working directory."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.settings import environment_config
from tap_compose.tap import TapCompose
from tests.support.tap_runs import catalog_of, command, config_for, input_files, named_pipe

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


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = [f"TAP_COMPOSE_{name.upper()}" for name in SCHEMA["properties"]]
    for empty in ("", " ", "\t"):
        for each in variables:
            monkeypatch.setenv(each, empty)
        (tmp_path / ".env").write_text("".join(f"{each}='{empty}'\n" for each in variables))
        assert environment_config(SCHEMA) == {}
        (tmp_path / ".env").write_text("".join(f"{each}=1\n" for each in variables))
        assert environment_config(SCHEMA).keys() == SCHEMA["properties"].keys()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("deployment_ids", "590000000000000000000001", ["590000000000000000000001"]),
        ("deployment_ids", "5e3, true,,null", ["5e3", "true", "null"]),
        ("deployment_ids", ' ["a", "b"]', ["a", "b"]),
        ("deployment_ids", '["a", ', '["a", '),
        ("api_token", "12345678", "12345678"),
        ("start_date", "2020", "2020"),
        ("max_concurrency", "8", 8),
        ("max_concurrency", "x", "x"),
        ("request_timeout", "1.5", 1.5),
        ("fail_on_skip", "YES", True),
        ("fail_on_skip", "flase", "flase"),
        ("stream_maps", '{"teams": null}', {"teams": None}),
        ("stream_maps", "{", "{"),
    ],
)
def test_the_schema_decides_the_type(
    name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TAP_COMPOSE_{name.upper()}", text)
    assert environment_config(SCHEMA) == {name: value}


def test_the_environment_wins_over_dotenv_and_that_over_files(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    ids = sandbox.account.deployment_ids[:2]
    config = config_for(sandbox, user_agent="file/1", deployment_ids=[])
    files = input_files(tmp_path, "deployment_scalings", config=config)
    (tmp_path / ".env").write_text(
        "\ufeffTAP_COMPOSE_USER_AGENT=dotenv/1\n"
        f"TAP_COMPOSE_DEPLOYMENT_IDS={ids[0]},{ids[1]}\nTAP_COMPOSE_MAX_CONCURRENCY=\n",
        encoding="utf-8",
    )
    for options, winner in (
        (["--config", "ENV", *files], "dotenv/1"),
        ([*files, "--config", "ENV"], "environment/1"),
    ):
        environment = {"TAP_COMPOSE_USER_AGENT": winner} if winner == "environment/1" else {}
        sandbox.log.clear()
        output = command(*options, cwd=tmp_path, environment=environment)
        assert output.status == 0
        assert [row["deployment_id"] for row in output.rows["deployment_scalings"]] == ids
        assert {each["user-agent"] for each in sandbox.log.headers} == {winner}


def test_dotenv_of_a_folder_above_is_not_read_and_sets_only_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    (tmp_path / ".env").write_text("TAP_COMPOSE_MAX_RETRIES=1\nHTTPS_PROXY=http://elsewhere\n")
    assert environment_config(SCHEMA) == {"max_retries": 1}
    assert "HTTPS_PROXY" not in os.environ
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert environment_config(SCHEMA) == {}


def test_a_dotenv_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TAP_COMPOSE_API_TOKEN=\xff\xfe\n")
    output = command("--config", "ENV", cwd=tmp_path)
    assert (output.status, output.stdout) == (1, b"")
    assert "Traceback" not in output.stderr
    assert output.stderr.count(".env cannot be read: 'utf-8' codec can't decode byte") == 1


def test_inputs_may_be_pipes(sandbox: Sandbox, tmp_path: Path) -> None:
    texts = {
        "config": json.dumps(config_for(sandbox)),
        "catalog": json.dumps(catalog_of("user")),
        "state": "{}",
        ".env": "TAP_COMPOSE_USER_AGENT=pipe/1",
    }
    arguments: list[str] = ["--config", "ENV"]
    for name, text in texts.items():
        pipe = named_pipe(tmp_path / name)
        threading.Thread(target=pipe.write_text, args=(text,), daemon=True).start()
        arguments += [f"--{name}", str(pipe)] if name != ".env" else []
    sandbox.log.clear()
    output = command(*arguments, timeout=60, cwd=tmp_path)
    assert output.status == 0, output.stderr
    assert output.rows.keys() == {"user"}
    assert {each["user-agent"] for each in sandbox.log.headers} == {"pipe/1"}
