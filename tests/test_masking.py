"""What looks like a secret is masked by its place, whatever it is written with."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_compose.api.errors import error_of
from tap_compose.masking import masked, masked_text, without_token

TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "hunter2"


@pytest.mark.parametrize(
    "body",
    [
        {"errors": {"password": [SECRET]}},
        {"errors": {"user": [{"name": "x", "Pass": {"is": [[SECRET]]}}]}},
        {"errors": [{"access_key": SECRET, "accessKey": SECRET, "secretAccessKey": SECRET}]},
        {"passwd": SECRET, "pwd": SECRET, "db_pass": SECRET, "password_confirmation": SECRET},
        {"api_key": SECRET, "apikey": SECRET, "private-key": SECRET, "Authorization": SECRET},
        {"credentials": [SECRET], "api_token": {"a": SECRET}, "clientSecret": 7, "X": None},
        {"text": f'the body was {{"password": ["a", "{SECRET}"]}}'},
        {"text": json.dumps({"text": json.dumps({"password": SECRET})})},
        {"url": f"postgres://admin:{SECRET}@db.example:1/x"},
    ],
    ids=str,
)
def test_json_is_masked_by_key_at_any_depth(body: Any) -> None:
    assert SECRET not in masked(json.dumps(body))
    assert SECRET not in str(error_of(422, {}, json.dumps(body).encode(), TOKEN))
    assert SECRET not in str(error_of(422, {}, json.dumps({"errors": body}).encode(), TOKEN))
    assert SECRET not in masked(f"rejected: {json.dumps(body)}")
    assert SECRET not in masked(json.dumps(body)[:-1])  # as if it was cut off


def test_what_is_no_secret_stays() -> None:
    body = {"errors": {"id": ["is odd"], "password": ["x"], "author": "A", "passes": 3}}
    assert masked(json.dumps(body)) == (
        '{"errors":{"id":["is odd"],"password":"***","author":"A","passes":3}}'
    )
    for text in (
        "no connection to https://api.example:8443/2016-07/x, ask bob@example.com",
        "https://[::1]:8080/x",
        "the api_token is dead",
        "a-b - c --dry-run",
    ):
        assert masked_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"mongo host/db -u admin -p {SECRET}",
        f"mysql -u admin -p{SECRET} --ssl-mode=REQUIRED",
        f"mysql -u admin -p '{SECRET} and more' db",
        f"mongo --username admin --password {SECRET} --ssl",
        f'mongo --password="{SECRET} x" --ssl',
        f"mongo --password='{SECRET} x' --ssl",
        f"redis-cli -h db.example -p 11111 -a {SECRET}",
        f"rethinkdb --password-file={SECRET}",
        f"curl -u admin:{SECRET} https://db.example",
        f"curl --user admin:{SECRET} https://db.example",
        f"curl -H 'Authorization: Bearer {SECRET}'",
        f"Authorization: Basic {SECRET}",
        f"Authorization: Something else, {SECRET}",
        f"bearer {SECRET}",
        f"PGPASSWORD={SECRET} psql",
        f"api_key={SECRET}&x=1",
        f"{{:password=>\"{SECRET}\", 'token' => '{SECRET}'}}",
        f"<password>{SECRET}</password>",
        f"password: '{SECRET}",
        f'password: "\\"{SECRET}',
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"{TOKEN}{SECRET}"[: len(TOKEN)] + f" token={SECRET}",
    ],
)
def test_secrets_in_texts_are_masked(text: str) -> None:
    line = masked(text, TOKEN)
    assert SECRET not in line
    assert TOKEN not in line
    assert "***" in line


PASSWORDS = [
    "plain",
    "a@b",
    "a/b",
    "a'b",
    'a"b',
    "a b",
    "12/34@x",
    "a:b",
    "@ / '",
    "a?b#c",
    "a%20b",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("user", ["admin", ""])
def test_credentials_in_urls_are_masked(password: str, user: str) -> None:
    url = f"mongodb+srv://{user}:{password}@db.example:27017/x?ssl=true"
    for text in (url, f"cannot reach {url}, nor {url} at all"):
        line = masked_text(text)
        assert password not in line
        assert line.endswith(text[-12:])
    assert json.loads(masked(json.dumps([url, "x"]))) == [
        "mongodb+srv://***@db.example:27017/x?ssl=true",
        "x",
    ]


def test_a_url_that_is_cut_off_is_masked() -> None:
    assert masked_text("redis://admin:hunt") == "redis://***"


@given(st.text(st.sampled_from("""@/' "\\:?#[]{}<>=-,;&é\nax1"""), min_size=1))
@example("a://b")
def test_no_password_in_a_url_is_left(password: str) -> None:
    secret = f"q{password}z"
    assert secret not in masked_text(json.dumps({"x": f"redis://u:{secret}@h"}))
    assert secret not in masked(json.dumps({"x": f"redis://u:{secret}@h"}))


@given(st.integers(0, 400))
def test_the_token_is_masked_before_anything_is_cut(padding: int) -> None:
    for text in (f"{'x' * padding}{TOKEN} and more", json.dumps({"y": "x" * padding, "id": TOKEN})):
        assert "0123" not in masked(text, TOKEN)
        assert "0123" not in str(error_of(500, {}, (text + " " * 3000).encode(), TOKEN))


def test_the_token_is_masked_in_every_form() -> None:
    token = "a+token/of=odd%characters"
    for text in (token, "a%2Btoken%2Fof%3Dodd%25characters", token[:20], f"{token}{token}"):
        assert set(without_token(f"<{text}>", token)) == set("<*>")
    assert without_token(token, "") == token
    assert without_token(f"<{TOKEN}>", TOKEN) == "<***>"


def test_a_long_body_takes_no_time() -> None:
    size = 1 << 16
    for part in (
        "-",
        "://",
        "pass",
        "password: [",
        "://a:",
        '"\\',
        "-p a",
        "token ",
        " ",
        "é@",
        "[",
    ):
        text = part * (size // len(part))
        began = perf_counter()
        masked(text, TOKEN)
        without_token(TOKEN[:12] * 5000, TOKEN)
        assert perf_counter() - began < 2


def test_the_result_is_one_short_line() -> None:
    assert masked("a\nb\x00c\u202ed\u2028e") == "a b c d e"
    assert masked("x" * 999) == "x" * 200 + "…"
    assert masked(" ") == ""
