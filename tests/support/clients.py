"""A client and a transport with short waits."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tap_compose.api import client as client_module
from tap_compose.api import hal
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import ApiError
from tap_compose.api.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a-token-for-tests"


@contextmanager
def open_transport(
    url: str, *, timeout: float = 5, max_concurrency: int = 4
) -> Iterator[Transport]:
    transport = Transport(
        url, TOKEN, user_agent="tests/1", timeout=timeout, max_concurrency=max_concurrency
    )
    with closing(transport):
        yield transport


@contextmanager
def open_client(
    url: str,
    *,
    timeout: float = 5,
    max_concurrency: int = 4,
    max_retries: int = 8,
    longest_backoff: float = 0.02,
) -> Iterator[Client]:
    with (
        patch.object(client_module, "LONGEST_BACKOFF", longest_backoff),
        open_transport(url, timeout=timeout, max_concurrency=max_concurrency) as transport,
        closing(Client(transport, max_retries)) as client,
    ):
        yield client


def get(client: Client, request: Request[Any]) -> Any:
    """What a client makes of one request."""
    _, result = next(client.get_many([request]))
    if isinstance(result, ApiError):
        raise result
    return result


def numbered(count: int) -> list[Request[Any]]:
    """Requests for ``/0``, ``/1`` and so on."""
    return [Request(f"/{number}", hal.decode) for number in range(count)]


def results_of(client: Client, count: int) -> list[Any]:
    """What a client makes of so many requests."""
    return [result for _, result in client.get_many(numbered(count))]
