"""Nothing from outside forges a line of the log, steers the terminal, or shows the token."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tap_compose import logs
from tests.support.raw_server import http, raw_server
from tests.support.tap_runs import command, input_files, on_a_terminal, without_colours

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TOKEN = "0123456789abcdef0123456789abcdef"
FORGED = "2017-08-30 12:46:29,000 | ERROR    | tap-compose | forged"
EVIL = f"evil\n{FORGED}\r\x1b[2J\x1b]0;title\x07\x9b2J\u202e\u2028\x7f {TOKEN}"
ESCAPED = rf"evil\n{FORGED}\r\x1b[2J\x1b]0;title\x07\x9b2J\u202e\u2028\x7f ***"
ODD_HEADER = f"no header {TOKEN}\r\n".encode()


def _response(path: str) -> bytes:
    """An account whose one deployment has a hostile id, and fields with hostile names."""
    path = unquote(path)
    if path == "/accounts":
        return http(_json("accounts", [{"id": "a", EVIL: 1}]), headers=ODD_HEADER)
    if path == "/deployments":
        return http(_json("deployments", [{"id": EVIL, "name": EVIL}]))
    if path.startswith("/deployments/"):
        return http(json.dumps({"errors": EVIL}).encode(), b"404 Not Found", ODD_HEADER)
    return http(json.dumps({"errors": EVIL}).encode(), b"500 Internal Server Error")


def _json(name: str, items: list[Any]) -> bytes:
    return json.dumps({"_embedded": {name: items}}).encode()


def _files(tmp_path: Path, url: str) -> list[str]:
    config = {"api_url": url, "api_token": TOKEN, "max_retries": 0}
    streams = ("accounts", "deployments", "deployment_alerts", "user")
    return input_files(tmp_path, *streams, config=config)


def test_log_lines_are_escaped_and_masked(tmp_path: Path) -> None:
    with raw_server(_response) as server:
        output = command(*_files(tmp_path, server.url), environment={"LOGLEVEL": "DEBUG"})
    assert output.status == 1
    lines = output.stderr.split("\n")
    assert all(line.isprintable() for line in lines)
    assert "0123456" not in output.stderr
    assert [line for line in lines if line.startswith("2017")] == []
    assert all(
        re.match(r"2\d{3}-\d\d-\d\d |  |$", line) for line in lines
    )  # a traceback is indented
    text = output.stderr
    assert f"undocumented field {ESCAPED} is ignored\n" in text
    gone = f"it no longer exists or is being deprovisioned (HTTP 404 Not Found: {ESCAPED})"
    assert f"skipped: deployment_alerts of deployment {ESCAPED}: {gone}" in text
    assert "Failed to parse headers" in text  # it is urllib3 that writes it
    assert "Traceback" not in text


def test_a_log_in_json_shows_no_token(tmp_path: Path) -> None:
    setup = tmp_path / "logging.yml"
    setup.write_text(
        "version: 1\n"
        "disable_existing_loggers: false\n"
        "formatters: {json: {(): singer_sdk.logging.StructuredFormatter}}\n"
        "handlers: {one: {class: logging.StreamHandler, formatter: json}}\n"
        "root: {level: DEBUG, handlers: [one]}\n"
    )
    with raw_server(_response) as server:
        output = command(
            *_files(tmp_path, server.url), environment={"SINGER_SDK_LOG_CONFIG": str(setup)}
        )
    lines = [json.loads(line) for line in output.stderr.splitlines()]
    assert any("Failed to parse headers" in each["message"] for each in lines)
    assert not any(each.get("exception") for each in lines)
    assert any(f"deployment {ESCAPED}" in each["message"] for each in lines)
    assert "0123456" not in output.stderr


def test_the_tables_on_a_terminal_are_escaped_and_masked(tmp_path: Path) -> None:
    with raw_server(_response) as server:
        files = _files(tmp_path, server.url)
        for arguments, stdout in (([], subprocess.DEVNULL), (["--test"], None)):
            _status, text = on_a_terminal(*files, *arguments, stdout=stdout)
            assert "0123456" not in text
            plain = without_colours(text)
            assert [line for line in plain.splitlines() if line.startswith("2017")] == []
            for each in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\u202e", "\u2028", "\x7f"):
                assert each not in text
            if not arguments:
                assert f"skipped: deployment_alerts of deployment {ESCAPED}: it no" in plain


def test_the_text_of_an_exception_is_escaped_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_tokens", set())
    logs.mask_always(TOKEN)
    try:
        raise ValueError(EVIL)  # noqa: TRY301
    except ValueError:
        record = logs.safe_record("x", logging.ERROR, "", 1, "%s", (EVIL,), sys.exc_info())
    text = logging.Formatter("%(message)s").format(record)
    first, *others = text.split("\n")
    assert first == ESCAPED
    assert others[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert TOKEN not in text
