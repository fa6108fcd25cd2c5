"""The endpoints of the sandbox, with the error bodies of the API."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from tap_compose.sandbox.data import API
from tap_compose.sandbox.deployments import RESOURCES
from tap_compose.sandbox.single import SingleObjects
from tap_compose.times import canonical_time, time_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tap_compose.sandbox.account import Account

PREFIX = "/2016-07"

LISTS = (
    *("accounts", "accounts/{id}/users", "billables", "clusters", "databases", "datacenters"),
    *("deployments", "teams", "user"),
)
_TEMPLATE_MARK = re.compile(r"\{(\?embed\})?$")
"""What follows the path if a client requests a templated link unchanged."""


class RequestLog:
    """The requests that came in, by path below the API's base URL."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: list[str] = []
        self._headers: list[dict[str, str]] = []

    def add(self, path: str, headers: dict[str, str]) -> None:
        """Add a request."""
        with self._lock:
            self._paths.append(path)
            self._headers.append(headers)

    def clear(self) -> None:
        """Remove all of them."""
        with self._lock:
            self._paths.clear()
            self._headers.clear()

    @property
    def paths(self) -> list[str]:
        """All paths in the order of the requests."""
        with self._lock:
            return list(self._paths)

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of all requests."""
        with self._lock:
            return list(self._headers)

    @property
    def counts(self) -> Counter[str]:
        """How often each path was requested."""
        return Counter(self.paths)


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
    paths = {
        **dict.fromkeys(LISTS, endpoints.account_level),
        "audit_events": endpoints.audit_events,
        "deployments/{id}": endpoints.deployment,
        "deployments/{id}/{name}": endpoints.deployment,
        "deployments/{id}/{name}/{item}": endpoints.download,
        **{f"{name}/{{id}}": endpoints.single for name in endpoints.singles},
    }
    app = Starlette(
        routes=[Route(f"{PREFIX}/{path}", endpoint) for path, endpoint in paths.items()],
        middleware=[Middleware(_Gate, token=token, latency=latency, log=log)],
        exception_handlers={HTTPException: _http_error, Exception: _http_error},
    )
    return app, log


class _Endpoints:
    """Responds to the requests that the gate lets through."""

    def __init__(self, account: Account, *, inclusive_bounds: bool) -> None:
        self._account = account
        self._inclusive_bounds = inclusive_bounds
        self._objects = SingleObjects(account)
        self._bodies: dict[tuple[str, str], bytes] = {}
        self.singles = {
            "audit_events": self._objects.audit_event,
            "clusters": self._objects.cluster,
            "recipes": self._objects.recipe,
            "teams": self._objects.team,
        }

    async def account_level(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PREFIX)
        return _object(request, self._account.account_level.get(path))

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

    async def deployment(self, request: Request) -> Response:
        deployment_id = request.path_params["id"]
        name = request.path_params.get("name", "")
        problem = self._problem(deployment_id, name)
        if problem is not None:
            return problem
        key = (deployment_id, name)
        if key not in self._bodies:
            body = self._account.resource(deployment_id, name)
            self._bodies[key] = json.dumps(body).encode()
        return _json(request, self._bodies[key])

    async def download(self, request: Request) -> Response:
        deployment_id, name, item = (request.path_params[each] for each in ("id", "name", "item"))
        problem = self._problem(deployment_id, name)
        if problem is not None:
            return problem
        is_known = name in {"backups", "logfiles"}
        found = self._objects.download(deployment_id, name, item) if is_known else None
        return _object(request, found)

    async def single(self, request: Request) -> Response:
        name = request.url.path.removeprefix(PREFIX).split("/")[1]
        if name == "clusters" and self._objects.clusters_are_refused:
            return _error(401, "invalid_token")
        return _object(request, self.singles[name](request.path_params["id"]))

    def _problem(self, deployment_id: str, name: str) -> Response | None:
        """Return the error for a deployment's resource, or None."""
        if deployment_id not in self._account.deployment_ids or name not in RESOURCES:
            return _error(404, "not_found")
        if deployment_id != self._account.leaving:
            return None
        # Each status that the API may return for a deployment that is being deprovisioned.
        if name in {"roles", "team_roles"}:
            return _error(401, "invalid_token")
        return _error(410 if name in {"backups", "logfiles"} else 404, "not_found")


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
    body = json.dumps({"errors": errors})
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _http_error(_: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    return _error(status, HTTPStatus(status).name.lower(), headers)
