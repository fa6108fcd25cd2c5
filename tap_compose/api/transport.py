"""Send one HTTP request. The only file that knows which HTTP library does it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.auth
import urllib3.exceptions
from typing_extensions import override

from tap_compose.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK = 1 << 18
_LONGEST_ERROR_BODY = 1 << 16
_LONGEST_CONNECT = 10.0
"""Seconds for a connection, however long a request may take."""


@dataclass(frozen=True)
class Response:
    """A complete response.

    Attributes:
        status: The HTTP status.
        headers: Looked up in any capitalisation.
        body: The decoded body; if the status is not 200, possibly only its beginning.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportError(Exception):
    """No complete response; the message is one line for a person, without the token.

    Args:
        message: What went wrong.
        has_response: Whether the beginning of a response arrived.
    """

    def __init__(self, message: str, *, has_response: bool = False) -> None:
        super().__init__(message)
        self.has_response = has_response


class NoConnectionError(TransportError):
    """Nobody listens at the address, or the host is unknown."""


class TimedOutError(TransportError):
    """The response was not complete in time."""


class BrokenConnectionError(TransportError):
    """The connection was reset, the response was truncated or was not HTTP."""


class CertificateError(TransportError):
    """There is no trustworthy TLS connection.

    Args:
        address: Host and port.
        reason: Why not.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"no secure connection to {address}: {reason}")
        self.reason = reason


class Transport(Protocol):
    """Sends single GET requests, from any number of threads at once."""

    def get(self, url: str, timeout: float) -> Response:
        """Send a request and read the response completely.

        Args:
            url: The whole URL, percent-encoded.
            timeout: Seconds for the request as a whole.

        Returns:
            The response, whatever its status.

        Raises:
            TransportError: If there was no complete response.
        """
        ...

    def close(self) -> None:
        """Close the connections that are not in use."""
        ...


class RequestsTransport:
    """Sends requests with the requests library, through one session.

    Args:
        base_url: The URL that all requests begin with.
        token: The bearer token.
        user_agent: The ``User-Agent`` header.
        connections: Connections to keep open.
    """

    def __init__(self, base_url: str, token: str, *, user_agent: str, connections: int) -> None:
        self._address = urlsplit(base_url).netloc
        self._token = token
        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        request = requests.Request("GET", base_url, auth=_BearerAuth(token))
        request.headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._request = session.prepare_request(request)
        # Proxies and certificates of the environment, looked up once: a session that does it
        # for every request spends half a millisecond on it.
        settings = session.merge_environment_settings(base_url, {}, True, None, None)  # noqa: FBT003
        self._settings: dict[str, Any] = {**settings, "stream": True}
        self._adapter = session.get_adapter(base_url)

    def get(self, url: str, timeout: float) -> Response:
        """Send a request and read the response completely; see ``Transport``."""
        deadline = monotonic() + timeout
        request = copy(self._request)  # only the URL differs
        request.url = url
        has_response = False
        try:
            response = self._adapter.send(
                request, timeout=(min(timeout, _LONGEST_CONNECT), timeout), **self._settings
            )
            has_response = True
            with response:
                body = _read_body(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._translate(error, timeout, has_response=has_response) from error
        return Response(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def _translate(self, error: Exception, timeout: float, *, has_response: bool) -> TransportError:
        if isinstance(error, requests.exceptions.SSLError):
            return CertificateError(self._address, masked(str(error), self._token))
        if isinstance(error, requests.ConnectTimeout):
            seconds = min(timeout, _LONGEST_CONNECT)
            return NoConnectionError(f"no connection to {self._address} in {seconds:g} s")
        if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
            message = f"no complete response from {self._address} in {timeout:g} s"
            return TimedOutError(message, has_response=has_response)
        if isinstance(error, requests.ConnectionError) and isinstance(
            _cause(error),
            (urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError),
        ):
            return NoConnectionError(f"no connection to {self._address}")
        message = f"the connection to {self._address} broke"
        return BrokenConnectionError(message, has_response=has_response)


class _BearerAuth(requests.auth.AuthBase):
    """Adds the token; a callable, because requests lets a .netrc entry replace a plain header."""

    def __init__(self, token: str) -> None:
        self._token = token

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


def _read_body(response: requests.Response, deadline: float) -> bytes:
    """Read a body until the deadline: requests' own timeout starts again with every byte."""
    limit = None if response.status_code == requests.codes.ok else _LONGEST_ERROR_BODY
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if limit is not None and size > limit:
            break
        if monotonic() > deadline:
            raise requests.Timeout
    return b"".join(chunks)[:limit]


def _cause(error: Exception) -> object:
    """Return the reason inside requests' and urllib3's wrappings of a connection error."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)
