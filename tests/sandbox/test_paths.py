"""Paths, links, methods and errors of the sandbox, as docs/compose-api.md has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.contract import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_api import Api

JSON = "application/json"


@pytest.mark.parametrize(
    "written", ["//2016-07//{}//", "/2016-07/{}/{{?embed}}", "/2016-07/{}%7B%3Fembed%7D"]
)
def test_slashes_and_template_marks_do_not_matter(written: str, plain: Api) -> None:
    paths = [plain.paths(each.path)[0] for each in RESOURCES if each.path != "audit_events"]
    event = plain.objects("audit_events")[0]
    for path in (*paths, f"audit_events/{event['id']}"):
        target = written.format(path.replace("/", "//") if "//" in written else path)
        assert plain.sent("GET", target) == (200, JSON, plain.get(path))


def _links(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, target in value.get("_links", {}).items():
            yield name, target["href"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _links(each)


def test_links_can_be_followed_as_they_are_printed(plain: Api) -> None:
    found = {link for each in RESOURCES for link in _links(plain.objects(each.path))}
    names = {"self", "cluster", "scalings", "backups", "alerts", "portal_users"}
    assert {name for name, _ in found} == {*names, "compose_web_ui"}
    assert {bool(urlsplit(link).netloc) for _, link in found} == {True, False}
    for name, link in found:
        url = urljoin(f"{plain.sandbox.url}/", link)
        assert url.endswith("{?embed}")
        if name in names:
            assert plain.sent("GET", url.removeprefix(plain.origin))[0] == 200, link


@pytest.mark.parametrize(
    "path",
    [
        *("/2016-06/accounts", "/2016-07/nonsense", "/2016-07/teams/none"),
        *("/2016-07/deployments/none/alerts", "/2016-07/{}/nonsense", "/2016-07/{}/backups/none"),
    ],
)
def test_what_does_not_exist(path: str, plain: Api) -> None:
    assert plain.sent("GET", path.format(_first(plain))) == (404, JSON, "not_found")


def _first(api: Api) -> str:
    return f"deployments/{api.sandbox.account.deployment_ids[0]}"


@pytest.mark.parametrize("query", ["cursor=none", "limit=", "limit=101", "older_than=soon"])
def test_a_bad_query_of_audit_events(query: str, plain: Api) -> None:
    errors = {query.split("=", maxsplit=1)[0]: ["is invalid"]}
    assert plain.sent("GET", f"/2016-07/audit_events?{query}") == (400, JSON, errors)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "deployments", 422),
        ("PATCH", "{}", 422),
        ("POST", "{}/backups/none/restore", 422),
        ("PUT", "user", 405),
        ("GET", "{}/backups/none/restore", 405),
        ("POST", "nonsense", 404),
    ],
)
def test_a_write_is_rejected(method: str, path: str, status: int, plain: Api) -> None:
    errors = {404: "not_found", 405: "method_not_allowed"}
    assert plain.sent(method, f"/2016-07/{path.format(_first(plain))}") == (
        status,
        "application/json; charset=utf-8" if status == 422 else JSON,
        errors.get(status, {"base": ["cannot be changed: the sandbox takes no writes"]}),
    )


def test_some_roles_may_not_read_a_cluster(odd: Api) -> None:
    cluster = odd.objects("clusters")[0]
    assert odd.sent("GET", f"/2016-07/clusters/{cluster['id']}") == (401, JSON, "invalid_token")
