"""Input files and settings that nobody would write on purpose: never a traceback."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.settings import Settings, SettingsError
from tests.tap_runs import Output, catalog_of, command, config_for, discover, named_pipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox

Entry = dict[str, Any]

STREAMS = ("audit_events", "deployment_recipes", "teams", "user")
DEEP = 100_000


def _run(
    folder: Path,
    sandbox: Sandbox,
    *,
    config: str | dict[str, Any] | None = None,
    state: str = "{}",
    catalog: dict[str, Any] | None = None,
) -> Output:
    settings = {**config_for(sandbox), **(config if isinstance(config, dict) else {})}
    texts = {
        "config": config if isinstance(config, str) else json.dumps(settings),
        "state": state,
        "catalog": json.dumps(catalog or catalog_of(*STREAMS)),
    }
    arguments = []
    for name, text in texts.items():
        (folder / name).write_text(text)
        arguments += [f"--{name}", str(folder / name)]
    output = command(*arguments)
    assert "Traceback" not in output.stderr
    return output


def _errors(output: Output) -> list[str]:
    lines = output.stderr.splitlines()
    return [line.split("|", 3)[3].strip() for line in lines if "| ERROR " in line]


def _state(**streams: Any) -> str:
    return json.dumps({"bookmarks": streams})


def _at(time: str, key: str = "created_at") -> dict[str, Any]:
    return {"replication_key": key, "replication_key_value": time}


def test_the_first_and_the_last_time_there_is(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = sandbox.account.deployment_ids
    usual = _run(tmp_path, sandbox)
    for time, is_first in (("0001-01-01", True), ("9999-12-31T23:59:59.999Z", False)):
        recipes = [{"context": {"deployment_id": each}, **_at(time, "updated_at")} for each in ids]
        state = _state(audit_events=_at(time), deployment_recipes={"partitions": recipes})
        for output in (
            _run(tmp_path, sandbox, config={"start_date": time}),
            _run(tmp_path, sandbox, state=state),
        ):
            assert output.status == 0
            for stream in ("audit_events", "deployment_recipes"):
                wanted = usual.rows[stream] if is_first else None
                assert output.rows.get(stream) == wanted


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            _state(deployment_recipes={"partitions": [_at("2018-01-01", "updated_at")]}),
            "the state of deployment_recipes was not written by this tap",
        ),
        (
            _state(deployment_recipes={"partitions": [{"context": {"deployment_id": ["x"]}}]}),
            "the state of deployment_recipes was not written by this tap",
        ),
        (
            _state(audit_events={"progress_markers": "x"}),
            "the state of audit_events was not written by this tap",
        ),
        (
            _state(audit_events={**_at("2018-01-01"), "replication_key": ["created_at"]}),
            "the state of audit_events was not written by this tap",
        ),
        (f'{{"bookmarks": {"[" * DEEP}', "is nested more than 100 levels deep"),
        (f'{{"bookmarks": {"[" * 900}{"]" * 900}}}', "is nested more than 100 levels deep"),
        ('{"bookmarks": {"teams": {"x": NaN}}}', "is not valid JSON: JSON is malformed"),
        ('{"bookmarks": {"teams": {"x": "\\ud800"}}}', "is not valid JSON: "),
    ],
    ids=["no context", "a list for an id", "markers", "key", "deep", "900", "NaN", "surrogate"],
)
def test_a_state_that_cannot_be_used(
    state: str, expected: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    output = _run(tmp_path, sandbox, state=state)
    assert (output.status, output.stdout) == (1, b"")
    (line,) = _errors(output)
    assert expected in line


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"api_token": "t", "request_timeout": NaN}', "is not valid JSON: JSON is malformed"),
        ('{"api_token": "t", "request_timeout": -Infinity}', "is not valid JSON: JSON is malf"),
        (f'{{"api_token": {"[" * DEEP}', "is nested more than 100 levels deep"),
        (
            '{"api_token": "t", "stream_maps": {"__else__": "x"}}',
            "stream_maps.__else__ must be null",
        ),
        ('{"api_token": "t", "stream_maps": {"user": {"__else__": 5}}}', "stopped early: unexp"),
        ('{"api_token": "t", "stream_maps": {"user": {"a": "1+"}}}', "user.a is not a Python expr"),
    ],
)
def test_a_config_that_cannot_be_used(
    config: str, expected: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    output = _run(tmp_path, sandbox, config=config)
    assert (output.status, output.stdout) == (1, b"")
    (line,) = _errors(output)
    assert expected in line


def test_null_and_a_byte_order_mark_in_a_config(sandbox: Sandbox, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("stream_maps", "stream_map_config", "flattening_enabled"))
    output = _run(tmp_path, sandbox, config=nothing)
    assert output.status == 0
    marked = _run(tmp_path, sandbox, config=f"\ufeff{json.dumps(config_for(sandbox))}")
    assert marked.rows == output.rows


URL = "api_url must be a URL such as http://127.0.0.1:8080/2016-07"


@pytest.mark.parametrize(
    "url",
    [
        "https://*.compose.io",
        "https://api compose.io",
        "https://api.compose.io /2016-07",
        "https://api.compose.io/2016 07",
        "https://api.compose.io/\u00e9",
        "https://\u00e9.example",
        "https://api..compose.io",
        "https://.compose.io",
        "https://-a.example",
        "https://a-.example",
        f"https://{'a' * 64}.example",
        f"https://{'a.' * 130}io",
        "https://a_%41.example",
        "https://a,b.example",
        "https://a\\b.example",
        "https://a\nb.example",
        "https://api.compose.io/%zz",
        "https://api.compose.io/<x>",
        "https://[::1",
        "https://[x]",
        "https://::1",
        "https://a:99999",
        "https://a:x",
        "https://",
        "https:api.compose.io",
        "//api.compose.io",
        "ftp://api.compose.io",
        "https://{host}",
        "",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_config({"api_token": "t", "api_url": url})
    assert str(error.value) == URL


@pytest.mark.parametrize("end", ["?", "#", "?x=1", "#x", "/?", "/#"])
def test_an_address_ends_with_its_path(end: str) -> None:
    with pytest.raises(SettingsError, match="must not have a user, password, query or fragment"):
        Settings.from_config({"api_token": "t", "api_url": f"https://api.compose.io/2016-07{end}"})


@pytest.mark.parametrize(
    "url",
    [
        "https://api.compose.io/2016-07",
        "HTTPS://API.COMPOSE.IO",
        "https://api.compose.io.:443/a/b~c/%7E",
        "https://my_host/2016-07",
        "https://10.0.0.1:8443",
        "https://[2001:db8::1]:8443/x",
        "http://127.0.0.2:1",
        "http://[::1]:1",
        "http://localhost",
    ],
)
def test_an_address_that_is_one(url: str) -> None:
    assert Settings.from_config({"api_token": "t", "api_url": f" {url}/ "}).api_url == url


def test_an_odd_address_is_one_line(sandbox: Sandbox, tmp_path: Path) -> None:
    output = _run(tmp_path, sandbox, config={"api_url": "https://*.compose.io"})
    assert (output.status, _errors(output)) == (1, [URL])


def _edited(edit: Callable[[Entry], Any], *streams: str) -> dict[str, Any]:
    catalog = catalog_of(*streams)
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] in streams:
            edit(entry)
    return catalog


def _ref(entry: Entry) -> None:
    columns = entry["schema"]["properties"]
    entry["schema"]["properties"] = {name: {"$ref": "#/definitions/x"} for name in columns}


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: entry.update(stream="another"),
        lambda entry: entry.update(stream=None),
        lambda entry: entry.update(key_properties=["name"]),
        lambda entry: entry["schema"].update(properties={}),
        lambda entry: entry.update(schema={}),
        lambda entry: entry.update(schema={"$ref": "#/definitions/x"}),
        _ref,
        lambda entry: entry.update(metadata=[]),
    ],
    ids=["stream", "null", "keys", "no properties", "no schema", "a $ref", "$refs", "no metadata"],
)
def test_a_catalog_that_says_little_or_too_much_changes_nothing(
    edit: Callable[[Entry], Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    streams = ("audit_events", "deployments", "teams")
    usual = _run(tmp_path, sandbox, catalog=catalog_of(*streams))
    output = _run(tmp_path, sandbox, catalog=_edited(edit, *streams))
    assert output.status == 0
    assert output.rows == usual.rows
    assert output.of_type("SCHEMA") == usual.of_type("SCHEMA")


def _without_keys(entry: Entry) -> None:
    for key in ("id", "created_at"):
        entry["schema"]["properties"].pop(key, None)


def _deselected(entry: Entry) -> None:
    columns = ("id", "created_at", "name")
    entry["metadata"] = [
        {"breadcrumb": [], "metadata": {"selected": True}},
        *(
            {
                "breadcrumb": ["properties", each],
                "metadata": {"inclusion": "available", "selected": False},
            }
            for each in columns
        ),
    ]


def _unsupported(entry: Entry) -> None:
    for metadata in entry["metadata"]:
        if metadata["breadcrumb"]:
            metadata["metadata"]["inclusion"] = "unsupported"


@pytest.mark.parametrize("edit", [_without_keys, _deselected, _unsupported])
def test_keys_go_out_whatever_a_catalog_says(
    edit: Callable[[Entry], Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    output = _run(tmp_path, sandbox, catalog=_edited(edit, "audit_events", "teams"))
    assert output.status == 0
    schemas = {each["stream"]: each["schema"]["properties"] for each in output.of_type("SCHEMA")}
    for stream, keys in {"audit_events": {"id", "created_at"}, "teams": {"id"}}.items():
        assert keys <= schemas[stream].keys()
        assert output.rows[stream]
        assert all(row.keys() == schemas[stream].keys() for row in output.rows[stream])
        assert all(row["id"] for row in output.rows[stream])
    left_out = output.stderr.count("the catalog leaves out the key")
    assert left_out == (3 if edit is _without_keys else 0)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda entry: entry["schema"]["properties"]["name"].update(type=5),
            "Expected `str | array`, got `int` - at `$.streams[",
        ),
        (
            lambda entry: entry["schema"].update(properties=["name"]),
            "Expected `object`, got `array` - at `$.streams[",
        ),
        (lambda entry: entry.update(stream=5), "Expected `str | null`, got `int` - at"),
        (
            lambda entry: entry.update(replication_method=["x"]),
            "Expected `str | null`, got `array`",
        ),
        (lambda entry: entry.update(metadata=None), "Expected `array`, got `null` - at"),
    ],
)
def test_a_catalog_that_is_none(
    edit: Callable[[Entry], Any], expected: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    output = _run(tmp_path, sandbox, catalog=_edited(edit, "teams"))
    assert (output.status, output.stdout) == (1, b"")
    (line,) = _errors(output)
    assert f"is not a Singer catalog: {expected}" in line


def test_an_unknown_stream_in_a_catalog_disturbs_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    catalog = discover()
    untyped = {"type": "object", "properties": {"x": {}}}
    catalog["streams"].append({"tap_stream_id": "invoices", "schema": untyped})
    output = _run(
        tmp_path,
        sandbox,
        catalog=catalog,
        config={"flattening_enabled": True, "flattening_max_depth": 1},
    )
    assert output.status == 0
    assert "unknown stream invoices in the catalog is ignored" in output.stderr


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
