"""The sandbox as a client sees it, for the tests of what it sends."""

from __future__ import annotations

import json
import socket
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.contract import RESOURCES, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.quirks import Quirks

Object = dict[str, Any]


def running(quirks: Quirks) -> Sandbox:
    return Sandbox(Size(deployments=24, events=200, recipes=10, accounts=2, quirks=quirks))


class Api:
    """A sandbox as a client sees it: what is asked twice is sent once."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.get = cache(self._get)
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {sandbox.token}"
        self._session.trust_env = False  # a look at the environment and netrc for each request

    def _get(self, path: str) -> Any:
        response = self._session.get(urljoin(f"{self.sandbox.url}/", path), timeout=60)
        assert response.status_code == 200, f"{path}: {response.text}"
        return response.json()

    @property
    def origin(self) -> str:
        return self.sandbox.url.removesuffix("/2016-07")

    def sent(self, method: str, target: str) -> tuple[int, str, Any]:
        """Send a request as it is written; return the status, the type, and the body or errors."""
        address = urlsplit(self.origin)
        assert address.port
        request = f"{method} {target} HTTP/1.0\r\nHost: {address.netloc}\r\n"
        with socket.create_connection(("127.0.0.1", address.port)) as connection:
            connection.sendall(
                f"{request}Authorization: Bearer {self.sandbox.token}\r\n\r\n".encode()
            )
            with connection.makefile("rb") as file:
                head, _, text = file.read().partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert headers["server"] == "ComposeAPI/2016-07"
        body, status = json.loads(text), int(head.split()[1])
        assert status == 200 or body.keys() == {"errors"}
        return status, headers["content-type"], body if status == 200 else body["errors"]

    def paths(self, template: str) -> list[str]:
        """A path for each account or deployment that it stands for."""
        account = self.sandbox.account
        ids = {
            ":account": account.ids,
            ":deployment": [each for each in account.deployment_ids if each != account.leaving],
        }
        for mark, values in ids.items():
            if mark in template:
                return [template.replace(mark, each) for each in values]
        return [f"{template}?limit=100" if template == "audit_events" else template]

    def objects(self, template: str) -> list[Object]:
        """All objects of a path's bodies."""
        resource = next(each for each in RESOURCES if each.path == template)
        found = [
            each for path in self.paths(template) for each in _unwrapped(self.get(path), resource)
        ]
        return list(_with_parts(found)) if template.endswith("/recipes") else found


def _unwrapped(body: Object, resource: Resource) -> list[Object]:
    """Take the objects out of a body, which holds nothing else."""
    if not resource.envelope:
        return [body]
    if resource.path.endswith("/addons"):  # whose envelope is unknown
        body = body.get("_embedded", body)
    else:
        assert body.keys() - {"summary"} == {"_embedded"}
        body = body["_embedded"]
    ((name, objects),) = body.items()
    assert name in resource.envelope.split()
    return list(objects)


def _with_parts(recipes: list[Object]) -> Iterator[Object]:
    for each in recipes:
        yield each
        yield from _with_parts(each["_embedded"]["recipes"])
