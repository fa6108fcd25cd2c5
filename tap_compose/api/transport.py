"""Send one HTTP request. The only file that knows which HTTP library does it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions

from tap_compose.api.bodies import BodyError, LargeBodyError, read_body
from tap_compose.api.connections import NEVER, Adapter, Exchange
from tap_compose.api.environment import CORRECT_PROXY, Environment, EnvironmentProblemError
from tap_compose.api.watchdog import Deadline, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import HTTPConnectionPool


LONGEST_CONNECT = 10.0
"""Seconds for a connection, however long a request may take."""

_TIME_OUTS = (urllib3.exceptions.TimeoutError, TimeoutError)
_NO_TUNNEL = "Tunnel connection failed: "


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
    """No complete response; the message is one line, without the token.

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


class SetupError(TransportError):
    """A proxy or certificates of the environment prevent all requests."""


class CertificateError(SetupError):
    """The certificate of the API is not trusted.

    Args:
        address: Host and port.
        reason: Why not.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"no secure connection to {address}: {reason}")


class TooLargeError(TransportError):
    """The response is larger than any should be."""


def _ignore(_size: int) -> None:
    pass


class Transport(Protocol):
    """Sends single GET requests, from any number of threads at once."""

    def get(self, url: str, timeout: float, receive: Callable[[int], None] = _ignore) -> Response:
        """Send a request and read the response completely.

        Args:
            url: The complete URL, percent-encoded.
            timeout: Seconds for the request in total.
            receive: Takes the size of the body so far, after each part; may raise to give up.

        Returns:
            The response, whatever its status.

        Raises:
            TransportError: If there was no complete response.
        """
        ...

    def renew_connections(self) -> None:
        """Do not reuse connections that are open now: a response may belong to another request."""
        ...

    def close(self) -> None:
        """Close the connections that are not in use."""
        ...


class RequestsTransport:
    """Sends requests with urllib3, through the proxy and with the certificates that requests finds.

    Args:
        base_url: The URL that all requests begin with.
        token: The bearer token.
        user_agent: The ``User-Agent`` header.
        max_concurrency: Most requests at once, besides one that probes the token.
    """

    def __init__(self, base_url: str, token: str, *, user_agent: str, max_concurrency: int) -> None:
        parts = urlsplit(base_url)
        self._address = parts.netloc
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {token}",
        }
        self._watchdog = Watchdog()
        self._reuse_since = 0.0
        self._adapter = Adapter(pool_maxsize=max_concurrency + 1)
        environment = Environment(base_url)
        self._proxy = environment.proxy
        self._pool: HTTPConnectionPool | EnvironmentProblemError
        try:
            self._pool = environment.pool(self._adapter)
        except EnvironmentProblemError as problem:
            self._pool = problem

    def get(self, url: str, timeout: float, receive: Callable[[int], None] = _ignore) -> Response:
        """Send a request and read the response completely; see ``Transport``."""
        if isinstance(self._pool, EnvironmentProblemError):
            raise SetupError(str(self._pool))
        deadline = Deadline(timeout)
        self._watchdog.watch(deadline)
        try:
            exchange = Exchange(deadline, self._reuse_since)
            try:
                return self._exchange(self._pool, url, exchange, timeout, receive)
            except BrokenConnectionError:
                # The server has closed a connection that was idle: no sign of overload.
                if not exchange.is_reused or exchange.has_begun:
                    raise
            return self._exchange(self._pool, url, Exchange(deadline, NEVER), timeout, receive)
        finally:
            self._watchdog.forget(deadline)

    def renew_connections(self) -> None:
        """Do not reuse connections that are open now; see ``Transport``."""
        self._reuse_since = monotonic()

    def close(self) -> None:
        """Close the connections: those in use once their responses are read."""
        if not isinstance(self._pool, EnvironmentProblemError):
            self._pool.close()
        self._watchdog.close()

    def _exchange(
        self,
        pool: HTTPConnectionPool,
        url: str,
        exchange: Exchange,
        timeout: float,
        receive: Callable[[int], None],
    ) -> Response:
        deadline = exchange.deadline
        has_response = False
        try:
            response = pool.urlopen(
                "GET",
                url[len(self._origin) :],
                headers=self._headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(
                    connect=min(deadline.remaining, LONGEST_CONNECT), read=deadline.remaining
                ),
                preload_content=False,
            )
            has_response = True
            try:
                body = read_body(response, deadline, receive)
            finally:
                response.close()
            if deadline.has_passed:  # what was cut off can look like an end
                raise TimeoutError
        except LargeBodyError as error:
            message = f"the response of {self._address} is {error}"
            raise TooLargeError(message, has_response=True) from error
        except BodyError as error:
            message = f"the response of {self._address} is {error}"
            raise BrokenConnectionError(message, has_response=True) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            problem = self._translate(error, exchange, timeout)
            problem.has_response = has_response
            raise problem from error
        return Response(response.status, response.headers, body)

    def _translate(self, error: Exception, exchange: Exchange, timeout: float) -> TransportError:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return CertificateError(self._address, _tls_reason(cause))
        if exchange.deadline.has_passed or any(map(_is_time_out, causes)):
            return self._time_out(causes, timeout)
        for cause in causes:
            if isinstance(cause, urllib3.exceptions.ProxyError):
                return self._proxy_problem(causes)
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                reason = _tls_reason(cause)
                return BrokenConnectionError(f"TLS with {self._address} broke: {reason}")
        if exchange.has_connected or exchange.is_reused:
            return BrokenConnectionError(f"the connection to {self._address} broke")
        return NoConnectionError(self._why_not_connected(causes))

    def _why_not_connected(self, causes: list[BaseException]) -> str:
        if any(isinstance(each, socket.gaierror) for each in causes):
            return f"unknown host {urlsplit(self._origin).hostname}"
        if any(isinstance(each, ConnectionRefusedError) for each in causes):
            return f"connection refused by {self._address}"
        return f"no connection to {self._address}"

    def _time_out(self, causes: list[BaseException], timeout: float) -> TransportError:
        connecting = urllib3.exceptions.ConnectTimeoutError
        if any(isinstance(each, connecting) and _is_time_out(each) for each in causes):
            seconds = min(timeout, LONGEST_CONNECT)
            return NoConnectionError(f"no connection to {self._address} in {seconds:g} s")
        return TimedOutError(f"no complete response from {self._address} in {timeout:g} s")

    def _proxy_problem(self, causes: list[BaseException]) -> TransportError:
        refusal = next((str(each) for each in causes if str(each).startswith(_NO_TUNNEL)), None)
        if refusal is None:
            return NoConnectionError(f"no connection to the proxy {self._proxy}")
        message = f"the proxy {self._proxy} does not connect to {self._address}: "
        message += refusal[len(_NO_TUNNEL) :].strip()
        if refusal.startswith(f"{_NO_TUNNEL}4"):
            return SetupError(f"{message}; {CORRECT_PROXY}")
        return BrokenConnectionError(message)


def _is_time_out(error: BaseException) -> bool:
    # urllib3 counts every connection that does not come about as a time-out.
    return isinstance(error, _TIME_OUTS) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    )


def _tls_reason(error: ssl.SSLError) -> str:
    """Return why TLS failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return (error.reason or error.strerror or "closed").replace("_", " ").lower()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error and what lies in urllib3's wrappings of it."""
    seen: list[BaseException] = []
    pending = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            yield each
            pending += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
