"""The endpoints of the sandbox, with the error bodies of the API."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from tap_compose.sandbox.deployments import RESOURCES
from tap_compose.times import canonical_time, time_value

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tap_compose.sandbox.account import Account

PREFIX = "/2016-07"


class RequestLog:
    """The requests that came in, by path below the API's base URL."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: list[str] = []
        self._headers: list[dict[str, str]] = []

    def add(self, path: str, headers: dict[str, str]) -> None:
        """Note a request."""
        with self._lock:
            self._paths.append(path)
            self._headers.append(headers)

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._paths.clear()
            self._headers.clear()

    @property
    def paths(self) -> list[str]:
        """All paths in the order in which they were asked for."""
        with self._lock:
            return list(self._paths)

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of all requests."""
        with self._lock:
            return list(self._headers)

    @property
    def counts(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(self.paths)


def make_app(
    account: Account, token: str, *, latency: float = 0.0, inclusive_bounds: bool = True
) -> tuple[ASGIApp, RequestLog]:
    """Make the application that serves an account.

    Args:
        account: What it serves.
        token: The only token that it takes.
        latency: Seconds before each answer.
        inclusive_bounds: Whether ``newer_than`` and ``older_than`` include their instant, which
            is unknown of the real API.

    Returns:
        The application, and the log of what it is asked.
    """
    log = RequestLog()
    bodies: dict[tuple[str, str], bytes] = {}

    async def account_level(request: Request) -> Response:
        return _answer(account.account_level.get(_path(request)))

    async def audit_events(request: Request) -> Response:
        query = request.query_params
        try:
            limit = int(query.get("limit", "50"))
            bounds = [_moment(query.get(name)) for name in ("newer_than", "older_than")]
        except ValueError:
            return _error(400, {"query": ["is invalid"]})
        if not 1 <= limit <= 100:
            return _error(400, {"limit": ["must be between 1 and 100"]})
        events = account.events.page(
            limit=limit,
            cursor=query.get("cursor"),
            newer_than=bounds[0],
            older_than=bounds[1],
            inclusive=inclusive_bounds,
        )
        return Response(events, media_type="application/json")

    async def deployment(request: Request) -> Response:
        deployment_id = request.path_params["id"]
        name = request.path_params.get("name", "")
        if deployment_id not in account.deployment_ids or name not in RESOURCES:
            return _error(404, "not_found")
        if deployment_id == account.leaving:
            # A role that may not read it and a deployment that is gone look alike or do not.
            if name in {"roles", "team_roles"}:
                return _error(401, "invalid_token")
            return _error(410 if name in {"backups", "logfiles"} else 404, "not_found")
        key = (deployment_id, name)
        if key not in bodies:
            bodies[key] = json.dumps(account.resource(deployment_id, name)).encode()
        return Response(bodies[key], media_type="application/json")

    app = Starlette(
        routes=[
            Route(f"{PREFIX}/audit_events", audit_events),
            Route(f"{PREFIX}/deployments/{{id}}", deployment),
            Route(f"{PREFIX}/deployments/{{id}}/{{name}}", deployment),
            Route(f"{PREFIX}/{{path:path}}", account_level),
        ],
        middleware=[Middleware(_Gate, token=token, latency=latency, log=log)],
    )
    return app, log


class _Gate:
    """Notes every request, waits, and lets only the right token through."""

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
            await self._app(scope, receive, send)
        else:
            await _error(401, "invalid_token")(scope, receive, send)


def _path(request: Request) -> str:
    return request.url.path.removeprefix(PREFIX).rstrip("/")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else time_value(canonical_time(text))


def _answer(body: Any) -> Response:
    if body is None:
        return _error(404, "not_found")
    return Response(json.dumps(body), media_type="application/json")


def _error(status: int, errors: Any) -> Response:
    return Response(
        json.dumps({"errors": errors}), status_code=status, media_type="application/json"
    )
