"""Paths, links, methods and errors of the sandbox, as docs/compose-api.md has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest

from tap_compose.sandbox.account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.sandbox_api import Api
from tests.support.wire import LINES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    "written",
    [
        "/2016-07/{}/",
        "/2016-07//{}",
        "/2016-07//{}//",
        "//2016-07/{}",
        "/2016-07/{}{{?embed}}",
        "/2016-07/{}/{{?embed}}",
        "/2016-07/{}%7B?embed%7D",
        "/2016-07/{}%7B%3Fembed%7D",
    ],
)
def test_slashes_and_template_marks_do_not_matter(written: str, plain: Api) -> None:
    for line in LINES:
        path = plain.paths(line.path)[0]
        doubled = path.replace("/", "//") if "//" in written else path
        for each in (path, doubled):
            if "?" not in each:
                assert plain.sent("GET", written.format(each)) == (200, plain.get(path))
    event = plain.objects("audit_events")[0]
    assert plain.sent("GET", written.format(f"audit_events/{event['id']}")) == (200, event)


def _links(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, target in value.get("_links", {}).items():
            yield name, target["href"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _links(each)


def test_links_can_be_followed_as_they_are_printed(plain: Api) -> None:
    found = {
        link
        for line in LINES
        for each in plain.objects(line.path)
        for link in _links(each)
        if link[0] != "compose_web_ui"
    }
    assert {name for name, _ in found} == {
        *("self", "cluster", "scalings", "backups", "alerts", "portal_users")
    }
    assert {bool(urlsplit(link).netloc) for _, link in found} == {True, False}
    for _, link in found:
        url = urljoin(f"{plain.sandbox.url}/", link)
        assert url.startswith(plain.sandbox.url)
        assert url.endswith("{?embed}")
        status, _ = plain.sent("GET", url.removeprefix(plain.origin))
        assert status == 200, link


@pytest.mark.parametrize(
    ("method", "path", "status", "errors"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/2016-07", 404, "not_found"),
        ("GET", "/2016-06/accounts", 404, "not_found"),
        ("GET", "/2016-07/nonsense", 404, "not_found"),
        ("GET", "/2016-07/accounts/none/users", 404, "not_found"),
        ("GET", "/2016-07/recipes", 404, "not_found"),
        ("GET", "/2016-07/recipes/none", 404, "not_found"),
        ("GET", "/2016-07/audit_events/none", 404, "not_found"),
        ("GET", "/2016-07/teams/none", 404, "not_found"),
        ("GET", "/2016-07/clusters/none", 404, "not_found"),
        ("GET", "/2016-07/deployments/none", 404, "not_found"),
        ("GET", "/2016-07/deployments/none/alerts", 404, "not_found"),
        ("GET", "/2016-07/deployments/none/backups/none", 404, "not_found"),
        ("GET", "/2016-07/{}/nonsense", 404, "not_found"),
        ("GET", "/2016-07/{}/backups/none", 404, "not_found"),
        ("GET", "/2016-07/{}/logfiles/none", 404, "not_found"),
        ("GET", "/2016-07/{}/roles/admin", 404, "not_found"),
        ("GET", "/2016-07/audit_events?cursor=", 400, {"cursor": ["is invalid"]}),
        ("GET", "/2016-07/audit_events?cursor=none", 400, {"cursor": ["is invalid"]}),
        ("GET", f"/2016-07/audit_events?cursor={'f' * 24}", 400, {"cursor": ["is invalid"]}),
        ("GET", "/2016-07/audit_events?limit=", 400, {"limit": ["is invalid"]}),
        ("GET", "/2016-07/audit_events?limit=101", 400, {"limit": ["is invalid"]}),
        ("GET", "/2016-07/audit_events?newer_than=", 400, {"newer_than": ["is invalid"]}),
        ("GET", "/2016-07/audit_events?older_than=soon", 400, {"older_than": ["is invalid"]}),
        ("POST", "/2016-07/deployments", 405, "method_not_allowed"),
        ("PATCH", "/2016-07/{}", 405, "method_not_allowed"),
        ("DELETE", "/2016-07/{}", 405, "method_not_allowed"),
        ("POST", "/2016-07/{}/scalings", 405, "method_not_allowed"),
        ("DELETE", "/2016-07/teams/none", 405, "method_not_allowed"),
        ("PUT", "/2016-07/user", 405, "method_not_allowed"),
        ("POST", "/2016-07/nonsense", 404, "not_found"),
    ],
)
def test_an_error_is_an_errors_body(
    method: str, path: str, status: int, errors: Any, plain: Api
) -> None:
    first = f"deployments/{plain.sandbox.account.deployment_ids[0]}"
    assert plain.sent(method, path.format(first)) == (status, errors)


def test_an_error_of_the_sandbox_itself_is_an_errors_body() -> None:
    with Sandbox(Size(deployments=0, events=1)) as sandbox:
        sandbox.account.events.event_at = None  # type: ignore[assignment,method-assign]
        assert Api(sandbox).sent("GET", "/2016-07/audit_events") == (500, "internal_server_error")
