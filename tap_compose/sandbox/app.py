"""The endpoints of the sandbox, with the error bodies of the API."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from tap_compose.sandbox.data import API
from tap_compose.sandbox.deployment_bodies import RESOURCES
from tap_compose.times import canonical_time, time_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tap_compose.sandbox.made_up_account import Account

PREFIX = "/2016-07"

_TEMPLATE_MARK = re.compile(r"\{(\?embed\})?$")
"""What follows the path if a client requests a templated link unchanged."""

_LISTS = """
    accounts accounts/{id}/users billables clusters databases datacenters deployments teams user
"""
_WRITES = """
    accounts/{id} accounts/{id}/users accounts/{id}/users/{item} clusters/{id} clusters/{id}/tags
    deployments deployments/{id} deployments/{id}/backups deployments/{id}/backups/{item}/restore
    deployments/{id}/password deployments/{id}/portals deployments/{id}/portals/{item}
    deployments/{id}/portal_users deployments/{id}/portal_users/{item} deployments/{id}/roles
    deployments/{id}/scalings deployments/{id}/settings/max_connections deployments/{id}/team_roles
    deployments/{id}/versions deployments/{id}/whitelist deployments/{id}/whitelist/{item}
    refresh_tokens teams teams/{id} teams/{id}/users
"""
"""The paths that the vendor's reference has for writes."""

_POLLS = 3
"""How often a client gets a recipe that runs or waits, by its id, before it is complete."""


class RequestLog:
    """The requests that came in.

    Attributes:
        paths: Their paths below the API's base URL, in their order.
        headers: Their headers.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    def add(self, path: str, headers: dict[str, str]) -> None:
        """Add a request."""
        self.paths.append(path)
        self.headers.append(headers)

    def clear(self) -> None:
        """Remove all of them."""
        self.paths.clear()
        self.headers.clear()

    @property
    def counts(self) -> Counter[str]:
        """How often each path was requested."""
        return Counter(list(self.paths))


def make_app(
    account: Account, token: str, *, latency: float = 0.0, inclusive_bounds: bool = True
) -> tuple[ASGIApp, RequestLog]:
    """Make the application that serves an account.

    Args:
        account: What it serves.
        token: The only valid token.
        latency: Seconds before each response.
        inclusive_bounds: Whether ``newer_than`` and ``older_than`` include their instant, which
            is unknown of the real API.

    Returns:
        The application, and the log of its requests.
    """
    log = RequestLog()
    endpoints = _Endpoints(account, inclusive_bounds=inclusive_bounds)
    gets = {
        **dict.fromkeys(_LISTS.split(), endpoints.account_level),
        "audit_events": endpoints.audit_events,
        "audit_events/{id}": endpoints.audit_event,
        "clusters/{id}": endpoints.element,
        "deployments/{id}": endpoints.deployment,
        **{f"deployments/{{id}}/{name}": endpoints.deployment for name in RESOURCES if name},
        "deployments/{id}/backups/{item}": endpoints.download,
        "deployments/{id}/logfiles/{item}": endpoints.download,
        "recipes/{id}": endpoints.recipe,
        "teams/{id}": endpoints.element,
    }
    writes = [
        Route(f"{PREFIX}/{path}", _rejected, methods=["POST", "PUT", "PATCH", "DELETE"])
        for path in _WRITES.split()
    ]
    app = Starlette(
        routes=[*(Route(f"{PREFIX}/{path}", each) for path, each in gets.items()), *writes],
        middleware=[Middleware(_Gate, token=token, latency=latency, log=log)],
        exception_handlers={HTTPException: _http_error, Exception: _http_error},
    )
    return app, log


async def _rejected(_: Request) -> Response:
    # As recorded, where other responses have no charset.
    headers = {"content-type": "application/json; charset=utf-8"}
    return _error(422, {"base": ["cannot be changed: the sandbox takes no writes"]}, headers)


class _Endpoints:
    """Responds to the requests that the gate lets through."""

    def __init__(self, account: Account, *, inclusive_bounds: bool) -> None:
        self._account = account
        self._inclusive_bounds = inclusive_bounds
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._polls: Counter[str] = Counter()

    async def account_level(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PREFIX)
        return _object(request, self._account.account_level.get(path))

    async def element(self, request: Request) -> Response:
        """A single cluster or team; some roles may read clusters only in the list."""
        _, name, element_id = request.url.path.removeprefix(PREFIX).split("/")
        if name == "clusters" and self._account.hides_clusters:
            return _error(401, "invalid_token")
        (elements,) = self._account.account_level[f"/{name}"]["_embedded"].values()
        return _object(request, next((e for e in elements if e["id"] == element_id), None))

    async def audit_events(self, request: Request) -> Response:
        read: dict[str, Callable[[str], Any]] = {
            "limit": _limit,
            "cursor": self._account.events.index_of,
            "newer_than": _moment,
            "older_than": _moment,
        }
        query: dict[str, Any] = {**dict.fromkeys(read), "limit": 50}
        name = ""
        try:
            for name in read.keys() & request.query_params.keys():
                query[name] = read[name](request.query_params[name])
        except ValueError:
            return _error(400, {name: ["is invalid"]})
        body = self._account.events.page(**query, inclusive=self._inclusive_bounds)
        return _json(request, body)

    async def audit_event(self, request: Request) -> Response:
        events = self._account.events
        try:
            return _object(request, events.event_at(events.index_of(request.path_params["id"])))
        except ValueError:
            return _error(404, "not_found")

    async def deployment(self, request: Request) -> Response:
        deployment_id = request.path_params["id"]
        name = "".join(request.url.path.removeprefix(PREFIX).split("/")[3:])
        problem = self._problem(deployment_id, name)
        if problem is not None:
            return problem
        key = (deployment_id, name)
        if key not in self._bodies:
            body = self._account.resource(deployment_id, name)
            self._bodies[key] = json.dumps(body).encode()
        return _json(request, self._bodies[key])

    def _problem(self, deployment_id: str, name: str) -> Response | None:
        """Return the error for a deployment's resource, or None."""
        if deployment_id not in self._account.deployment_ids:
            return _error(404, "not_found")
        if deployment_id != self._account.leaving:
            return None
        # Each status that the API may return for a deployment that is being deprovisioned.
        if name in {"roles", "team_roles"}:
            return _error(401, "invalid_token")
        return _error(410 if name in {"backups", "logfiles"} else 404, "not_found")

    async def download(self, request: Request) -> Response:
        """A backup or a log file, with the link that downloads it without a login, if it can be."""
        deployment_id, item = request.path_params["id"], request.path_params["item"]
        name = request.url.path.split("/")[-2]
        problem = self._problem(deployment_id, name)
        if problem is not None:
            return problem
        body = self._account.resource(deployment_id, name)
        (elements,) = body["_embedded"].values()
        found = next((e for e in elements if item == (e.get("id") or e.get("_id"))), None)
        if found and found.get("is_downloadable", True):
            link = f"https://downloads.compose.example/{name}/{item}?signature=made-up"
            found = {**found, "download_link": link}
        return _object(request, found)

    async def recipe(self, request: Request) -> Response:
        """A recipe; one that runs or waits is complete soon, in the list too."""
        recipe = self._account.recipe(request.path_params["id"])
        if recipe and recipe["status"] in {"running", "waiting"}:
            self._polls[recipe["id"]] += 1
            if self._polls[recipe["id"]] > _POLLS:
                self._account.finish(recipe["deployment_id"])
                self._bodies.clear()
                recipe = self._account.recipe(recipe["id"])
        return _object(request, recipe)


class _Gate:
    """Logs every request, waits, and rejects a wrong token."""

    def __init__(self, app: ASGIApp, *, token: str, latency: float, log: RequestLog) -> None:
        self._app = app
        self._expected = f"Bearer {token}"
        self._latency = latency
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self._log.add(scope["path"].removeprefix(PREFIX), headers)
        if self._latency:
            await asyncio.sleep(self._latency)
        if headers.get("authorization") == self._expected:
            path = _TEMPLATE_MARK.sub("", scope["path"])
            scope["path"] = re.sub("/+", "/", path).rstrip("/") or "/"
            await self._app(scope, receive, send)
        else:
            await _error(401, "invalid_token")(scope, receive, send)


def _moment(text: str) -> datetime:
    return time_value(canonical_time(text))


def _limit(text: str) -> int:
    limit = int(text)
    if not 1 <= limit <= 100:
        raise ValueError(text)
    return limit


def _object(request: Request, body: Any) -> Response:
    return _error(404, "not_found") if body is None else _json(request, json.dumps(body).encode())


def _json(request: Request, body: bytes) -> Response:
    """Respond with a body whose links lead to the host that the client used."""
    base = f"{request.url.scheme}://{request.url.netloc}{PREFIX}"
    return Response(body.replace(API.encode(), base.encode()), media_type="application/json")


def _error(status: int, errors: Any, headers: Mapping[str, str] | None = None) -> Response:
    headers = {"content-type": "application/json", **(headers or {})}
    body = json.dumps({"errors": errors})
    return Response(body, status_code=status, headers=headers)


def _http_error(_: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    return _error(status, HTTPStatus(status).name.lower(), headers)
