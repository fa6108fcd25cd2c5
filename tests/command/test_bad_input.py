"""A mistake of the user's: one line that names it, exit status 1 or 0, and no request."""

from __future__ import annotations

import json
import logging
import re
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from singer_sdk.exceptions import MappingError

from tap_compose.settings import SettingsError, read_input
from tap_compose.tap import TapCompose
from tests.support.tap_runs import (
    Output,
    catalog_of,
    command,
    config_for,
    discover,
    input_files,
    sync,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox

GOOD = {"api_token": "a-token-for-tests"}
NO_URL = "api_url must be a URL such as http://127.0.0.1:8080"


def _complaints(output: Output) -> list[str]:
    """What a run says at WARNING and above, without the log's prefix."""
    assert "Traceback" not in output.stderr
    return [
        line.split("|", 3)[3].strip()
        for line in output.stderr.splitlines()
        if ("| WARNING " in line or "| ERROR " in line) and "SingerSDKPythonEOLWarning" not in line
    ]


def _run(tmp_path: Path, config: Any, level: str = "INFO", **inputs: Any) -> Output:
    """Run the command with a config and other input files, as JSON or bytes."""
    files = input_files(tmp_path, config=config, **inputs)
    return command(*files, environment={"LOGLEVEL": level})


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a run in this process says at WARNING and above."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def _problems(**settings: Any) -> tuple[str, ...]:
    """The lines with which settings are refused."""
    with pytest.raises((SettingsError, MappingError)) as caught:
        TapCompose(config={**GOOD, **settings})
    return caught.value.args


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("api_token", None, "api_token is missing: ask whoever runs the server for one"),
        ("api_token", "", "api_token must be printable ASCII without blanks: copy it again"),
        ("api_token", "two words", "api_token must be printable ASCII without blanks"),
        ("api_token", 12345678, "api_token must be a string, in quotes"),
        ("api_url", "http://api.compose.io/2016-07", "api_url must start with https: http"),
        ("api_url", "https://me:hidden@a.example", NO_URL),
        ("api_url", "https://api compose.io", NO_URL),
        ("api_url", "https://[::1", NO_URL),
        ("api_url", "https://a:99999", NO_URL),
        ("api_url", "https:api.compose.io", NO_URL),
        ("api_url", "ftp://api.compose.io", NO_URL),
        ("api_url", "api.compose.io", NO_URL),
        ("api_url", "https://api.compose.io/2016-07?x=1", NO_URL),
        ("max_concurrency", 65, "max_concurrency is not valid: 65 is greater than the maximum of"),
        ("request_timeout", 0, "request_timeout is not valid: 0 is less than or equal to the min"),
        ("deployment_ids", "abc", "deployment_ids is not valid: 'abc' is not of type 'array'"),
        ("start_date", "yesterday", "start_date must be a date or a time such as 2020-01-01"),
        ("end_date", "2020-13-01", "end_date must be a date or a time such as 2020-01-01"),
        ("end_date", "2019-12-31", "end_date must be after start_date"),
        ("end_date", "2020-01-01", "end_date must be after start_date"),
        ("deployment_shard", "9/8", "deployment_shard must be one shard of several, such as 2/8"),
        ("user_agent", "a\nb", "user_agent must be printable ASCII without spaces around it, not"),
    ],
)
def test_a_bad_value(setting: str, value: Any, expected: str) -> None:
    (line,) = _problems(**{"start_date": "2020-01-01", setting: value})
    assert line.startswith(expected)
    assert "12345678" not in line
    assert "hidden" not in line


def test_bad_values_have_a_line_each_and_nothing_else_happens(tmp_path: Path) -> None:
    output = _run(tmp_path, {"max_retries": 99, "fail_on_skip": 3, "api_token": 918273645}, "DEBUG")
    assert (output.status, output.stdout) == (1, b"")
    assert "918273645" not in output.stderr
    names = [each.split()[0] for each in _complaints(output)]
    assert sorted(names) == ["api_token", "fail_on_skip", "max_retries"]


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://API.COMPOSE.IO",
        "https://api.compose.io.:443/a/b~c/%7E",
        "https://[2001:db8::1]:8443/x",
        "http://[::1]:1",
    ],
)
def test_an_address_that_is_valid(url: str) -> None:
    assert TapCompose(config={**GOOD, "api_url": f" {url}/ "}).run.settings.api_url == url


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"api_token": "secret",}', "JSON is malformed: trailing comma in object"),
        (b"[1]", "Expected `object`"),
        (b'{"user_agent": "\xff"}', "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_malformed_config_file(content: bytes, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_input("config", "config.json", lambda: content)
    (line,) = caught.value.args
    assert f"config.json cannot be read: it is not a JSON object: {problem}" in line
    assert "secret" not in line


def test_a_config_file_that_does_not_exist(tmp_path: Path) -> None:
    output = command("--config", tmp_path / "none.json")
    assert output.status == 1
    (line,) = _complaints(output)
    assert line.endswith("none.json cannot be read: No such file or directory")


def test_input_files_may_have_a_byte_order_mark_or_be_in_utf_16(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    nothing = dict.fromkeys(("stream_maps", "stream_map_config", "flattening_enabled"))
    config = json.dumps(config_for(sandbox, **nothing)).encode("utf-8-sig")
    catalog = json.dumps(catalog_of("user")).encode("utf-16-le")
    output = _run(tmp_path, config, catalog=catalog, state="{}".encode("utf-8-sig"))
    assert (output.status, list(output.rows)) == (0, ["user"])


def test_a_state_that_this_tap_did_not_write() -> None:
    with pytest.raises(SettingsError, match="^the state has no object of bookmarks: it was not"):
        TapCompose(config=GOOD, state={"bookmarks": []})


@pytest.mark.parametrize(
    "bookmarks",
    [
        {"audit_events": 3},
        {"audit_events": {"replication_key_value": "monday"}},
        {"deployment_recipes": {"partitions": [4]}},
    ],
)
def test_a_bookmark_that_this_tap_did_not_write(
    tmp_path: Path, sandbox: Sandbox, bookmarks: Any
) -> None:
    catalog, state = catalog_of(*bookmarks), {"bookmarks": bookmarks}
    output = _run(tmp_path, config_for(sandbox), catalog=catalog, state=state)
    assert (output.status, output.rows) == (1, {})
    assert re.match(r"(stopped early|failed: \w+): unexpected ", _complaints(output)[0])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"bookmarks": {}}', "the catalog selects no stream: nothing to sync; "),
        (b'{"streams": [{}]}', "stopped early: unexpected KeyError: 'tap_stream_id'; "),
    ],
)
def test_a_malformed_catalog_file(
    tmp_path: Path, sandbox: Sandbox, content: bytes, expected: str
) -> None:
    output = _run(tmp_path, config_for(sandbox), catalog=content)
    assert (output.status, output.stdout) == (1, b"")
    assert _complaints(output)[-1].startswith(expected)


def test_unknown_streams_and_settings_are_ignored_with_a_warning(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = catalog_of("accounts")
    catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": "invoices"})
    output = sync(config_for(sandbox, max_concurency=3, colour="red"), catalog=catalog)
    assert output.status == 0
    assert _warnings(caplog) == [
        "unknown setting max_concurency is ignored; did you mean max_concurrency?",
        "unknown setting colour is ignored",
        "unknown stream invoices in the catalog is ignored",
    ]
    assert output.rows.keys() == {"accounts"}


@pytest.mark.parametrize(
    ("name", "definition", "problem"),
    [
        ("audit_event", {"email": None}, "no stream audit_event"),
        ("people", {}, "no stream people"),
        ("people", {"__source__": "account_user", "name": None}, "no stream account_user"),
        ("audit_events", {"emial": "__NULL__"}, "audit_events has no column emial"),
        ("people", {"__source__": "account_users", "email": None}, "people has no column email"),
    ],
)
def test_a_stream_map_of_what_does_not_exist(
    name: str, definition: dict[str, Any], problem: str
) -> None:
    line = f"stream_maps: {problem}; see tap-compose --discover"
    assert _problems(stream_maps={name: definition}) == (line,)


def test_a_stream_map_that_is_not_valid() -> None:
    for definition in ([1], "text", {"email": 5}):
        assert _problems(stream_maps={"audit_events": definition}) == (
            "stream_maps.audit_events is not valid: the rule 'anyOf' of its schema fails",
        )
    (line,) = _problems(stream_maps={"user": {"id": None}})
    assert line.startswith("Removing key property 'id' is not permitted")


def test_patterns_and_copies_of_streams_in_stream_maps(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    maps = {
        "*": {"email": None, "ip": "__NULL__", "account_id": None},
        "team*": {"users": None, "__filter__": "True", "__alias__": "groups"},
        "people": {"__source__": "user", "name": None, "__key_properties__": ["id"]},
        "deployment_roles": {"users": None},  # not selected
        "__else__": None,
    }
    streams = ["audit_events", "teams", "user"]
    output = sync(config_for(sandbox, stream_maps=maps), streams=streams)
    assert (output.status, _warnings(caplog)) == (0, [])
    columns = {name: set(rows[0]) for name, rows in output.rows.items()}
    assert columns.keys() == {"audit_events", "groups", "people", "user"}
    assert not {"email", "ip", "account_id"} & columns["audit_events"]
    assert "name" in columns["user"]
    assert "name" not in columns["people"]


def test_a_stream_map_may_drop_what_the_catalog_deselects(sandbox: Sandbox) -> None:
    catalog = catalog_of("user")
    (entry,) = (each for each in catalog["streams"] if each["tap_stream_id"] == "user")
    for each in entry["metadata"]:
        if each["breadcrumb"] == ["properties", "name"]:
            each["metadata"]["selected"] = False
    maps = {"user": {"name": None}, "teams": {}, "clusters": {"id": "md5(id)"}}
    output = sync(config_for(sandbox, stream_maps=maps), catalog=catalog)
    assert output.status == 0
    assert [set(row) for row in output.rows["user"]] == [{"id"}]


def test_a_wrong_token(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = _run(tmp_path, {**config_for(sandbox), "api_token": "mistyped-token"}, "DEBUG")
    assert output.status == 1
    (line,) = _complaints(output)
    assert line.startswith("stopped early: the API rejects this api_token (HTTP 401 Unauthorized")
    assert "ask whoever runs the server for a new one" in line
    assert "mistyped-token" not in output.stderr
    assert sandbox.log.paths == ["/accounts"]


def test_the_public_api_is_gone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror(-2, "Unknown")))
    assert sync({**GOOD, "max_retries": 0}, streams=["user"]).status == 1
    assert caplog.messages[-1].startswith(
        "stopped early: no complete response from api.compose.io: Unknown; "
        "nothing responds at api.compose.io: Compose's public API was shut down in 2023; "
        "set api_url to another server, such as that of compose-sandbox; 0 rows"
    )


def test_a_wrong_path_never_looks_like_an_empty_account(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_for(sandbox, api_url=sandbox.url.replace("2016-07", "v1"))
    output = sync(config)
    assert (output.status, output.rows) == (1, {})
    all_have_it = (
        "accounts, audit_events, clusters, database_versions, databases, datacenters, deployments, "
        "teams, user"
    )
    names = sorted(each["tap_stream_id"] for each in discover()["streams"])
    per_deployment = ", ".join(each for each in names if each.startswith("deployment_"))
    gone = "HTTP 404 Not Found: not_found"
    *missing, last = _warnings(caplog)
    assert missing == [
        f"skipped: billables: this account does not have it ({gone})",
        f"failed: account_users: the list of accounts cannot be read: {gone}",
        f"failed: {all_have_it}: every account has this, so api_url looks wrong ({gone})",
        f"failed: {per_deployment}: the list of deployments cannot be read: {gone}",
    ]
    assert re.fullmatch(
        r"incomplete with 1 skipped, \d+ failed: \d+ rows from \d+ streams, 9 requests, [\d.]+ s",
        last,
    )
    assert TapCompose(config=config).test_and_report() == 1
    assert capsys.readouterr().err.endswith("\nno stream can be read\n")


def test_an_unknown_log_level() -> None:
    output = command("--discover", environment={"LOGLEVEL": "loud"})
    assert (output.status, output.stdout) == (1, b"")
    assert output.stderr == (
        "stopped early: the log cannot be set up: Unknown level: 'LOUD'; "
        "check LOGLEVEL and SINGER_SDK_LOG_CONFIG\n"
    )
