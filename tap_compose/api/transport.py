"""Send one GET request with requests. No retries; nothing here knows streams or Singer."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from copy import copy
from functools import partial
from http import HTTPStatus
from io import BytesIO
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from tap_compose.api.errors import (
    LONGEST_EXCERPT,
    ApiError,
    RejectedError,
    RunEndingError,
    TransientError,
    error_of,
)
from tap_compose.logs import escape, mask, mask_always

LONGEST_CONNECT = 10.0
"""Seconds for a connection, however long a request may take: a host accepts at once."""

LARGEST_BODY = 256 << 20
"""Bytes of a decompressed body; the largest that is known to be possible has a tenth of that."""

_CHUNK = 1 << 18
"""Bytes that are read at once; of a gzip bomb this many come out beyond the limit at most."""


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
        base_url: The URL that all requests begin with, without a slash at its end.
        token: The bearer token.
        user_agent: The header ``User-Agent``.
        timeout: Seconds for a request, body included. Where a server sends its headers byte by
            byte, a request can take longer; ``Client`` gives it up then.
        max_concurrency: How many connections are kept open.

    Attributes:
        address: The host and port of the API, and the proxy in between.
        timeout: Seconds for a request.
        max_concurrency: How many connections are kept open.
    """

    def __init__(
        self, base_url: str, token: str, *, user_agent: str, timeout: float, max_concurrency: int
    ) -> None:
        self._base_url, parts = base_url, urlsplit(base_url)
        mask_always(token)
        self.timeout, self._connect_timeout = timeout, min(timeout, LONGEST_CONNECT)
        self.max_concurrency = max_concurrency
        headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {token}",
        }
        self._template = requests.Request("GET", base_url, headers=headers).prepare()
        found = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
        proxies = {} if is_loopback(parts.hostname or "") else found["proxies"]
        self._options: dict[str, Any] = {"verify": found["verify"], "proxies": proxies}
        proxy = requests.utils.select_proxy(base_url, proxies)
        # The proxy without its password; in quotes, so that blanks can be seen.
        by_proxy = f" by proxy {proxy.rpartition('@')[2]!r}" if proxy else ""
        self.address = parts.netloc + by_proxy
        self.forget_connections()

    def get(self, target: str) -> bytes:
        """Send a request and read the body.

        Args:
            target: Path and query, percent-encoded.

        Returns:
            The decompressed body of a response with status 200.

        Raises:
            ApiError: For every other response, and if there was none.
        """
        # Not Session.get, which takes three times the processor time of a request.
        request = copy(self._template)  # its headers stay shared
        request.url = self._base_url + target
        deadline = monotonic() + self.timeout
        status = None
        try:
            timeouts = (self._connect_timeout, self.timeout)
            response = self._adapter.send(request, stream=True, timeout=timeouts, **self._options)
            status = response.status_code
            with closing(response):  # if something is unread, this closes the connection
                body = self._read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._error_of(error, status) from error
        if status != HTTPStatus.OK:
            raise error_of(status, response.headers, body)
        return body

    def forget_connections(self) -> None:
        """Use no connection again that is open now: what came on it was not what was asked for."""
        self._adapter = HTTPAdapter(pool_maxsize=self.max_concurrency + 1)  # one for a probe

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        if response.status_code < HTTPStatus.OK:  # http.client takes 102 and 103 for the response
            return b""  # what follows belongs to it
        with BytesIO() as body:  # emptied even if the traceback of an error still knows it
            read = partial(response.raw.read1, _CHUNK, decode_content=True)
            while body.tell() <= LARGEST_BODY and (chunk := read()):
                body.write(chunk)
                if monotonic() > deadline:
                    raise requests.Timeout
            if body.tell() > LARGEST_BODY:
                message = f"the response of {self.address} is larger than {LARGEST_BODY >> 20} MiB"
                raise RejectedError(message, status=response.status_code)
            return body.getvalue()

    def _error_of(self, error: BaseException, status: int | None) -> ApiError:
        """Return what it means that there was no response, or only a part of one."""
        is_connecting = isinstance(error, requests.ConnectTimeout)
        seconds = self._connect_timeout if is_connecting else self.timeout
        while cause := error.__cause__ or error.__context__:
            error = cause
        if isinstance(error, (TimeoutError, requests.Timeout)):
            reason = f" in {seconds:g} s"
        else:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            reason = f": {escape(mask(text.partition(' (_ssl.c')[0]), LONGEST_EXCERPT)}"
        if isinstance(error, OSError) and "certificate" in reason:
            return RunEndingError(f"no secure connection to {self.address}{reason}")
        return TransientError(f"no complete response from {self.address}{reason}", status=status)
