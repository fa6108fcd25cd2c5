"""A limit on requests per second, as an API gateway has one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class RateLimit:
    """Refuses with 429 what exceeds a number of requests in a second.

    Args:
        app: The application.
        rate: Requests accepted in each second of the clock.
        retry_after: Seconds of the header ``Retry-After``; no header if None.

    Attributes:
        refused: When it refused a request, by the monotonic clock.
    """

    def __init__(self, app: ASGIApp, rate: int, retry_after: int | None) -> None:
        self._app = app
        self._rate = rate
        self._headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._second = -1
        self._count = 0
        self.refused: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or self._accepts_another():
            await self._app(scope, receive, send)
            return
        response = JSONResponse({"errors": "rate_limit_exceeded"}, 429, self._headers)
        await response(scope, receive, send)

    def _accepts_another(self) -> bool:
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        if self._count <= self._rate:
            return True
        self.refused.append(now)
        return False
