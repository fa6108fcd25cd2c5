"""A mistake of the user's: one line that names it, exit status 1 or 0, and no request."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from tap_compose.settings import Settings, SettingsError
from tests.support.tap_runs import Output, catalog_of, command, config_for, discover, sync

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox


def _complaints(output: Output) -> list[str]:
    """What a run says at WARNING and above, without the log's prefix."""
    assert "Traceback" not in output.stderr
    return [
        line.split("|", 3)[3].strip()
        for line in output.stderr.splitlines()
        if ("| WARNING " in line or "| ERROR " in line) and "SingerSDKPythonEOLWarning" not in line
    ]


def _refused(tmp_path: Path, config: Any, **environment: str) -> str:
    """The one line with which a config is refused."""
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    output = command("--config", path, environment=environment)
    assert output.status == 1
    assert output.stdout == b""
    (line,) = _complaints(output)
    return line


GOOD = {"api_token": "a-token-for-tests"}


def test_no_token(tmp_path: Path) -> None:
    line = _refused(tmp_path, {})
    assert line.startswith("api_token is missing: ask whoever runs the server for one")
    assert "TAP_COMPOSE_API_TOKEN" in line


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("api_token", "", "api_token must be printable ASCII without blanks: copy it again"),
        ("api_token", "two words", "api_token must be printable ASCII without blanks"),
        ("api_token", 12345678, "api_token must be a string, in quotes"),
        ("api_url", "http://api.compose.io/2016-07", "api_url must start with https: http"),
        (
            "api_url",
            "api.compose.io",
            "api_url must be a URL such as http://127.0.0.1:8080/2016-07",
        ),
        (
            "api_url",
            "https://me:hidden@api.example",
            (
                "api_url must be a URL such as http://127.0.0.1:8080/2016-07 without user, "
                "password or query, not 'https://***@api.example'"
            ),
        ),
        ("max_concurrency", 0, "max_concurrency is not valid: 0 is less than the minimum of 1"),
        (
            "max_concurrency",
            65,
            "max_concurrency is not valid: 65 is greater than the maximum of 64",
        ),
        ("max_retries", -1, "max_retries is not valid: -1 is less than the minimum of 0"),
        ("request_timeout", 0, "request_timeout is not valid: 0 is less than or equal to the min"),
        ("lookback_seconds", -5, "lookback_seconds is not valid: -5 is less than the minimum of 0"),
        ("fail_on_skip", "maybe", "fail_on_skip is not valid: 'maybe' is not of type 'boolean'"),
        ("deployment_ids", "abc", "deployment_ids is not valid: 'abc' is not of type 'array'"),
        ("start_date", "yesterday", "start_date must be a date or a time such as 2020-01-01"),
        ("start_date", 20200101, "start_date is not valid: 20200101 is not of type 'string'"),
        ("end_date", "2020-13-01", "end_date must be a date or a time such as 2020-01-01"),
        ("deployment_shard", "9/8", "deployment_shard must be one shard of several, such as 2/8"),
        ("deployment_shard", "0/8", "deployment_shard must be one shard of several, such as 2/8"),
        (
            "user_agent",
            "a\nb",
            "user_agent must be printable ASCII without spaces around it, not 'a\\nb'",
        ),
    ],
)
def test_a_bad_value_in_a_file(tmp_path: Path, setting: str, value: Any, expected: str) -> None:
    line = _refused(tmp_path, {**GOOD, setting: value})
    assert line.startswith(expected)
    assert "12345678" not in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MAX_CONCURRENCY", "x", "max_concurrency is not valid: 'x' is not of type 'integer'"),
        ("FAIL_ON_SKIP", "flase", "fail_on_skip is not valid: 'flase' is not of type 'boolean'"),
        ("STREAM_MAPS", "{", "stream_maps is not valid: the rule 'type' of its schema fails"),
        ("DEPLOYMENT_SHARD", "2", "deployment_shard must be one shard of several"),
    ],
)
def test_a_bad_value_in_the_environment(variable: str, value: str, expected: str) -> None:
    output = command(
        "--config",
        "ENV",
        environment={"TAP_COMPOSE_API_TOKEN": "t", f"TAP_COMPOSE_{variable}": value},
    )
    assert output.status == 1
    (line,) = _complaints(output)
    assert line.startswith(expected)


def test_several_bad_values_have_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"max_retries": 99, "fail_on_skip": 3}))
    output = command("--config", path)
    assert output.status == 1
    assert sorted(each.split()[0] for each in _complaints(output)) == [
        "api_token",
        "fail_on_skip",
        "max_retries",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://*.compose.io",
        "https://api compose.io",
        "https://\u00e9.example",
        "https://[::1",
        "https://a:x",
        "https://a:99999",
        "https://",
        "https:api.compose.io",
        "ftp://api.compose.io",
        "https://api.compose.io/2016-07?x=1",
        "https://api.compose.io/2016-07#x",
        "",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError, match="^api_url must be a URL such as http://127.0.0.1:8080"):
        Settings.from_config({"api_token": "t", "api_url": url})


def test_a_token_in_an_address_is_masked_before_it_is_cut(tmp_path: Path) -> None:
    token = "0123456789abcdef" * 4
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"api_token": token, "api_url": f"https://x:{token}@a.example"}))
    output = command("--config", path)
    assert output.status == 1
    assert "not 'https://***@a.example'" in output.stderr
    assert token[:12] not in output.stderr


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://API.COMPOSE.IO",
        "https://api.compose.io.:443/a/b~c/%7E",
        "https://my_host/2016-07",
        "https://[2001:db8::1]:8443/x",
        "http://127.0.0.2:1",
        "http://[::1]:1",
        "http://localhost",
    ],
)
def test_an_address_that_is_one(url: str) -> None:
    assert Settings.from_config({"api_token": "t", "api_url": f" {url}/ "}).api_url == url


def test_null_and_a_byte_order_mark_in_a_config(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    nothing = dict.fromkeys(("stream_maps", "stream_map_config", "flattening_enabled"))
    path.write_text(f"\ufeff{json.dumps(config_for(sandbox, **nothing))}")
    assert command("--config", path).status == 0


def test_an_end_date_before_the_start_date(tmp_path: Path) -> None:
    for end in ("2019-12-31", "2020-01-01"):
        line = _refused(tmp_path, {**GOOD, "start_date": "2020-01-01", "end_date": end})
        assert line.startswith("end_date must be after start_date")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"api_token": "secret-thing",}',
            "config.json cannot be read: it is not a JSON object: JSON is ",
        ),
        ("", "config.json cannot be read: it is not a JSON object: Input data was truncated"),
        ("[1]", "config.json cannot be read: it is not a JSON object: Expected `object`"),
        (f'{{"api_token": {"[" * 100_000}', "config.json cannot be read: it is not a JSON object"),
        (f'{{"a": {"[" * 900}{"]" * 900}}}', "api_token is missing"),
        ('{"request_timeout": NaN}', "config.json cannot be read: it is not a JSON object: JSON"),
    ],
)
def test_a_malformed_config_file(tmp_path: Path, text: str, expected: str) -> None:
    line = _refused(tmp_path, text)
    assert expected in line
    assert "secret-thing" not in line


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    output = command("--config", tmp_path / "none.json")
    assert output.status == 1
    (line,) = _complaints(output)
    assert line.endswith("none.json cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not a JSON object"),
        ('{"audit_events": "2018-01-01"}', "the state has no object of bookmarks: it was not"),
        ('{"bookmarks": []}', "the state has no object of bookmarks: it was not written by"),
        ('{"bookmarks": {"audit_events": 3}}', "the state of audit_events was not written"),
        (
            '{"bookmarks": {"audit_events": {"replication_key_value": 3}}}',
            "the state of audit_events was not written",
        ),
        (
            '{"bookmarks": {"audit_events": {"replication_key_value": "monday"}}}',
            "the state of audit_events was not written by this tap: a bookmark is not a time",
        ),
        (
            '{"bookmarks": {"deployment_recipes": {"partitions": [4]}}}',
            "the state of deployment_recipes was not written",
        ),
    ],
)
def test_a_malformed_state_file(tmp_path: Path, text: str, expected: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(GOOD))
    output = command("--config", config, "--state", state)
    assert output.status == 1
    (line,) = _complaints(output)
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read: it is not a JSON object: Input data was truncated"),
        ('{"streams": 4}', "is not a Singer catalog: TypeError"),
        ('{"streams": ["accounts"]}', "is not a Singer catalog: "),
        ('{"bookmarks": {}}', "is not a Singer catalog: KeyError('streams'); make one with"),
        ('{"streams": []}', 'the catalog selects no stream: nothing to sync; set "selected": true'),
        ('{"streams": [{}]}', "is not a Singer catalog: KeyError('tap_stream_id'); make one with"),
    ],
)
def test_a_malformed_catalog_file(tmp_path: Path, text: str, expected: str) -> None:
    catalog, config = tmp_path / "catalog.json", tmp_path / "config.json"
    catalog.write_text(text)
    config.write_text(json.dumps(GOOD))
    output = command("--config", config, "--catalog", catalog)
    assert (output.status, output.stdout) == (1, b"")
    line = _complaints(output)[-1]
    assert expected in line


def test_a_catalog_with_an_unknown_stream(tmp_path: Path, sandbox: Sandbox) -> None:
    catalog = catalog_of("accounts")
    catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": "invoices"})
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(sandbox)))
    output = command("--config", config, "--catalog", path)
    assert output.status == 0
    assert _complaints(output) == ["unknown stream invoices in the catalog is ignored"]
    assert output.rows.keys() == {"accounts"}


def test_an_unknown_setting_is_named_with_the_nearest_known_one(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(sandbox, max_concurency=3, colour="red")))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of("user")))
    output = command("--config", config, "--catalog", catalog)
    assert output.status == 0
    assert _complaints(output) == [
        "unknown setting max_concurency is ignored; did you mean max_concurrency?",
        "unknown setting colour is ignored",
    ]


def test_the_settings_of_the_sdk_are_known(tmp_path: Path, sandbox: Sandbox) -> None:
    config = tmp_path / "config.json"
    settings = {
        "stream_maps": {"user": {"name": None}},
        "stream_map_config": {},
        "flattening_enabled": True,
        "flattening_max_depth": 1,
    }
    config.write_text(json.dumps(config_for(sandbox, **settings)))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of("user")))
    output = command("--config", config, "--catalog", catalog)
    assert (output.status, _complaints(output)) == (0, [])
    assert [set(row) for row in output.rows["user"]] == [{"id"}]


def test_a_stream_map_that_makes_no_sense(tmp_path: Path) -> None:
    line = _refused(tmp_path, {**GOOD, "stream_maps": {"user": {"id": None}}})
    assert line.startswith("Removing key property 'id' is not permitted")


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ({"audit_event": {"email": None}}, "no stream audit_event; did you mean audit_events?"),
        ({"people": {}}, "no stream people; see tap-compose --discover"),
        ({"audit_events": None, "tems": None}, "no stream tems; did you mean teams?"),
        ({"deploiment_*": {}}, "no stream deploiment_*; did you mean deployments?"),
        (
            {"people": {"__source__": "account_user", "name": None}},
            "no stream account_user; did you mean account_users?",
        ),
        (
            {"audit_events": {"emial": None}},
            "audit_events has no column emial; did you mean email?",
        ),
        (
            {"audit_events": {"emial": "__NULL__"}},
            "audit_events has no column emial; did you mean email?",
        ),
        ({"*": {"qqq": None}}, "* has no column qqq; see tap-compose --discover"),
        (
            {"people": {"__source__": "account_users", "email": None}},
            "people has no column email; see tap-compose --discover",
        ),
        (
            {"audit_events": {"email": "sha256(emial)"}},
            "audit_events.email uses emial, which is not a column or function; did you mean email?",
        ),
        (
            {"audit_events": {"id": "sha265(id)", "__filter__": "qqq"}},
            "audit_events.id uses sha265, which is not a column or function; did you mean sha256?",
        ),
        (
            {"audit_events": {"__filter__": "email and qqq"}},
            (
                "audit_events.__filter__ uses qqq, which is not a column or function; "
                "see tap-compose --discover"
            ),
        ),
        (
            {"audit_events": {"email": "sha256(config['hash_sede'] + email)"}},
            (
                "audit_events.email uses hash_sede, which is not in stream_map_config; "
                "did you mean hash_seed?"
            ),
        ),
        (
            {"user*": {"name": "config['salt'] + name"}},
            "user*.name uses salt, which is not in stream_map_config; add it",
        ),
        ({"user": {"name": "name +"}}, "user.name is not a Python expression"),
    ],
)
def test_a_stream_map_of_what_does_not_exist(
    tmp_path: Path, maps: dict[str, Any], expected: str
) -> None:
    settings = {"stream_maps": maps, "stream_map_config": {"hash_seed": "x"}}
    assert _refused(tmp_path, {**GOOD, **settings}) == f"stream_maps: {expected}"


@pytest.mark.parametrize("definition", [[1], "text", {"email": 5}])
def test_a_stream_map_of_another_type(tmp_path: Path, definition: object) -> None:
    assert _refused(tmp_path, {**GOOD, "stream_maps": {"audit_events": definition}}) == (
        "stream_maps.audit_events is not valid: the rule 'anyOf' of its schema fails"
    )


def test_an_expression_may_use_what_the_sdk_offers(tmp_path: Path, sandbox: Sandbox) -> None:
    used = {
        "a": "__stream_name__ + __original_stream_name__ + md5(_['id'])",
        "b": "json.dumps([each for each in record if each != config['without']])",
        "name": "str(self or None) if True else datetime.datetime.now().isoformat()",
    }
    config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of("user")))
    settings = {"stream_maps": {"user": used}, "stream_map_config": {"without": "id"}}
    config.write_text(json.dumps(config_for(sandbox, **settings)))
    output = command("--config", config, "--catalog", catalog)
    assert (output.status, _complaints(output)) == (0, [])
    assert [row["b"] for row in output.rows["user"]] == ['["name"]']


def test_the_last_stream_map_that_matches_is_applied_and_the_others_are_named(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    maps = {
        "audit_events": {"email": None, "digest": "md5(id)"},
        "user": {"name": None},
        "*": {"email": None, "ip": "__NULL__", "account_id": None},
        "team*": {"users": None, "__filter__": "True", "__alias__": "groups"},
        "people": {"__source__": "user", "name": None, "__key_properties__": ["id"]},
        "__else__": None,
    }
    config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    streams = ("audit_events", "teams", "user")
    catalog.write_text(json.dumps(catalog_of(*streams)))
    config.write_text(json.dumps(config_for(sandbox, stream_maps=maps)))
    output = command("--config", config, "--catalog", catalog)
    assert (output.status, _complaints(output)) == (
        0,
        [
            f"stream_maps: the map {earlier} is not applied to {stream}: "
            f"the later map {later} replaces it; merge them"
            for earlier, stream, later in (
                ("audit_events", "audit_events", "*"),
                ("user", "user", "*"),
                ("*", "teams", "team*"),
            )
        ],
    )
    columns = {name: set(rows[0]) for name, rows in output.rows.items()}
    assert columns.keys() == {"audit_events", "groups", "people", "user"}
    assert not {"digest", "email", "ip", "account_id"} & columns["audit_events"]
    assert "name" in columns["user"]
    assert "name" not in columns["people"]


def test_a_stream_map_may_drop_what_the_catalog_deselects(tmp_path: Path, sandbox: Sandbox) -> None:
    content = catalog_of("user")
    (entry,) = (each for each in content["streams"] if each["tap_stream_id"] == "user")
    for each in entry["metadata"]:
        if each["breadcrumb"] == ["properties", "name"]:
            each["metadata"]["selected"] = False
    config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    catalog.write_text(json.dumps(content))
    maps = {"user": {"name": None}, "teams": {"users": None, "id": "md5(id)"}}
    config.write_text(json.dumps(config_for(sandbox, stream_maps=maps)))
    output = command("--config", config, "--catalog", catalog)
    assert (output.status, _complaints(output)) == (0, [])
    assert [set(row) for row in output.rows["user"]] == [{"id"}]


def test_a_wrong_token(tmp_path: Path, sandbox: Sandbox) -> None:
    config = {**config_for(sandbox), "api_token": "mistyped-token"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    sandbox.log.clear()
    output = command("--config", path)
    assert output.status == 1
    (line,) = _complaints(output)
    assert line.startswith("stopped early: the API rejects this api_token (HTTP 401 Unauthorized")
    assert "ask whoever runs the server for a new one" in line
    assert "mistyped-token" not in output.stderr
    assert sandbox.log.paths == ["/accounts"]


@pytest.mark.parametrize(
    ("settings", "host", "advice"),
    [
        (
            {"api_url": "https://no-such-host.invalid/2016-07"},
            "no-such-host.invalid",
            "check api_url and the network",
        ),
        (
            {},
            "api.compose.io",
            (
                "Compose's public API was shut down in 2023; set api_url to another server, "
                "such as that of compose-sandbox"
            ),
        ),
    ],
)
def test_an_unknown_host(
    settings: dict[str, Any],
    host: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror(-2, "Unknown")))
    assert sync({**GOOD, **settings, "max_retries": 0}, streams=["user"]).status == 1
    assert caplog.messages[-1].startswith(
        f"stopped early: no complete response from {host}: Unknown; "
        f"nothing responds at {host}: {advice}; 0 rows"
    )


def test_a_wrong_path_never_looks_like_an_empty_account(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_for(sandbox, api_url=sandbox.url.replace("2016-07", "v1"))))
    output = command("--config", path)
    assert (output.status, output.rows) == (1, {})
    all_have_it = (
        "accounts, audit_events, clusters, database_versions, databases, datacenters, deployments, "
        "teams, user"
    )
    names = sorted(each["tap_stream_id"] for each in discover()["streams"])
    per_deployment = ", ".join(each for each in names if each.startswith("deployment_"))
    gone = "HTTP 404 Not Found: not_found"
    *missing, last = _complaints(output)
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
    assert command("--config", path, "--test").stderr.endswith("\nno stream can be read\n")
