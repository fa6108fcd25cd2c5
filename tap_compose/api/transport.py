"""Send one GET request with requests. No retries; nothing here knows streams or Singer."""

from __future__ import annotations

import ipaddress
import re
from copy import copy
from http import HTTPStatus
from io import BytesIO
from time import monotonic
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from tap_compose.api.errors import (
    ApiError,
    RejectedError,
    RunEndingError,
    TransientError,
    error_of,
)
from tap_compose.logs import mask_always

LONGEST_CONNECT = 10.0
"""Seconds for a connection, however long a request may take: a host accepts at once."""

LARGEST_BODY = 256 << 20
"""Bytes of a decompressed body; the largest that is known to be possible has a tenth of that."""

_LONGEST_ERROR_BODY = 1 << 16
"""Bytes: an error page is not needed completely."""

_CHUNK = 1 << 18
"""Bytes that are read at once; of a gzip bomb this many come out beyond the limit at most."""

_TLS_REASON = re.compile(r"\[(?:SSL|X509)[^\]]*\] ([^(]*)")

_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([^'\"]*)")

_BAD_PROXY = (
    requests.exceptions.InvalidURL,  # the API's own has been checked
    requests.exceptions.InvalidSchema,  # SOCKS without the package PySocks
    urllib3.exceptions.LocationParseError,
)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    Args:
        host: A name or an address, an IPv6 one without brackets.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Transport:
    """Sends single GET requests, from any number of threads at once.

    Proxies and certificates of the environment are those that requests finds. This machine is
    never asked through a proxy.

    Args:
        base_url: The URL that all requests begin with.
        token: The bearer token.
        user_agent: The header ``User-Agent``.
        timeout: Seconds for a request, body included. Where a server sends its headers byte by
            byte, a request can take longer; ``Client`` gives it up then.
        max_concurrency: How many connections are kept open.
    """

    def __init__(
        self, base_url: str, token: str, *, user_agent: str, timeout: float, max_concurrency: int
    ) -> None:
        parts = urlsplit(base_url)
        self._address, self._host = parts.netloc, parts.hostname or ""
        mask_always(token)
        self._timeout = timeout
        self._max_concurrency = max_concurrency
        headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {token}",
        }
        self._template = requests.Request("GET", base_url, headers=headers).prepare()
        found = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
        self._verify: bool | str = found["verify"] or False
        self._proxies = {} if is_loopback(self._host) else found["proxies"]
        proxy = requests.utils.select_proxy(base_url, self._proxies) or ""
        # Without its password; in quotes, so that blanks can be seen.
        self._proxy = repr(proxy.rsplit("@", 1)[-1]) if proxy else ""
        self.forget_connections()

    def get(self, url: str) -> bytes:
        """Send a request and read the body.

        Args:
            url: The complete URL, percent-encoded.

        Returns:
            The decompressed body of a response with status 200.

        Raises:
            ApiError: For every other response, and if there was none.
        """
        # Not Session.get, which takes three times the processor time of a request.
        request = copy(self._template)  # its headers stay shared
        request.url = url
        deadline = monotonic() + self._timeout
        try:
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(min(self._timeout, LONGEST_CONNECT), self._timeout),
                verify=self._verify,
                proxies=self._proxies,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._problem(error) from error
        try:
            # http.client takes 102 and 103 for the response. What follows belongs to it.
            if response.status_code < HTTPStatus.OK:
                raise TransientError(
                    f"HTTP {response.status_code} instead of a response",
                    status=response.status_code,
                )
            body = self._read(response, deadline)
        finally:
            response.close()  # if something is unread, this closes the connection
        if response.status_code != HTTPStatus.OK:
            raise error_of(response.status_code, response.headers, body)
        return body

    def forget_connections(self) -> None:
        """Use no connection again that is open now: what came on it was not what was asked for."""
        self._adapter = HTTPAdapter(pool_maxsize=self._max_concurrency + 1)  # one for a probe

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """Read a body; of an error only the beginning."""
        status = response.status_code
        most = LARGEST_BODY if status == HTTPStatus.OK else _LONGEST_ERROR_BODY
        with BytesIO() as body:  # emptied even if the traceback of an error still knows it
            try:
                while chunk := response.raw.read1(_CHUNK, decode_content=True):
                    body.write(chunk)
                    if monotonic() > deadline:
                        raise TransientError(self._late(), status=status)
                    if body.tell() > most:
                        break
            except (urllib3.exceptions.TimeoutError, TimeoutError):
                raise TransientError(self._late(), status=status) from None
            except (urllib3.exceptions.HTTPError, OSError):
                message = f"HTTP {status} from {self._address} with an incomplete body"
                raise TransientError(message, status=status) from None
            if status == HTTPStatus.OK and body.tell() > most:
                message = f"the response of {self._address} is larger than {most >> 20} MiB"
                raise RejectedError(message, status=status)
            return body.getvalue()

    def _late(self) -> str:
        return f"no complete response from {self._address} in {self._timeout:g} s"

    def _problem(self, error: Exception) -> ApiError:
        """Return what it means that there was no response."""
        address, text = self._address, str(error)
        tls = _TLS_REASON.search(text)
        broken = tls[1].strip() if tls else ""
        if broken.startswith(("certificate verify failed", "no certificate")):
            return RunEndingError(f"no secure connection to {address}: {broken}")
        if "TLS CA certificate bundle" in text:  # an OSError of requests, with the path
            return RunEndingError(f"no secure connection to {address}: {text}")
        if self._proxy and isinstance(error, _BAD_PROXY):
            why = "it is not a valid URL" if "Failed to parse" in text else text
            return RunEndingError(
                f"the proxy {self._proxy} cannot be used: {why}; correct HTTPS_PROXY or "
                "ALL_PROXY, or add the API's host to NO_PROXY"
            )
        route = f"{address} by proxy {self._proxy}" if self._proxy else address
        refusal = _TUNNEL_REFUSED.search(text)
        why = f": {refusal[1]}" if refusal else ""
        connect = min(self._timeout, LONGEST_CONNECT)
        messages: dict[type[Exception], str] = {
            requests.exceptions.ProxyError: f"no connection to {route}{why}",
            requests.exceptions.SSLError: f"TLS with {address} broke{broken and f': {broken}'}",
            requests.ConnectTimeout: f"no connection to {route} in {connect:g} s",
            requests.Timeout: self._late(),
            urllib3.exceptions.NameResolutionError: f"unknown host {self._host}",
            ConnectionRefusedError: f"connection refused by {address}",
            urllib3.exceptions.NewConnectionError: f"no connection to {route}",
            urllib3.exceptions.LocationParseError: f"unknown host {self._host}",
            Exception: f"the connection to {address} broke",
        }
        reason = getattr(error.args[0], "reason", None) if error.args else None
        causes = (error, reason, getattr(reason, "__cause__", None))
        matches = (kind for kind in messages if any(isinstance(each, kind) for each in causes))
        return TransientError(messages[next(matches)])
