"""The proxy and the certificates that the environment sets for an API."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import requests
import requests.utils
import urllib3.exceptions

from tap_compose.hosts import is_loopback

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool

CORRECT_PROXY = "correct HTTPS_PROXY or ALL_PROXY, or add the API's host to NO_PROXY"


class EnvironmentProblemError(Exception):
    """Why no request can succeed from here, and what to do about it."""


class Environment:
    """What the environment sets for requests to an API, looked up once.

    Args:
        base_url: The URL that all requests begin with.

    Attributes:
        proxy: The proxy's address without its user and password; empty if there is none.
    """

    def __init__(self, base_url: str) -> None:
        self._url = base_url
        parts = urlsplit(base_url)
        found = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
        if parts.scheme == "http" or is_loopback(parts.hostname or ""):
            # This machine needs no proxy, and plain http would show it the token.
            found["proxies"] = {}
        self._verify = found["verify"]
        self._proxies = found["proxies"]
        proxy = requests.utils.select_proxy(base_url, self._proxies) or ""
        self.proxy = proxy.rsplit("@", 1)[-1]

    def pool(self, adapter: HTTPAdapter) -> HTTPConnectionPool:
        """Return the pool of connections to the API.

        Args:
            adapter: Makes it.

        Raises:
            EnvironmentProblemError: If no request can succeed with these settings.
        """
        if isinstance(self._verify, str) and self._url.startswith("https:"):
            _check_certificates(self._verify)
        request = requests.Request("GET", self._url).prepare()
        untyped: Any = adapter  # the types of requests do not know its methods for pools
        try:
            pool = untyped.get_connection_with_tls_context(request, self._verify, self._proxies)
        except requests.exceptions.InvalidSchema:
            raise EnvironmentProblemError(
                f"the proxy {self.proxy} needs the package PySocks: install it together with "
                "tap-compose, or set another proxy"
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
            if not self.proxy:
                raise
            raise EnvironmentProblemError(
                f"{self.proxy} is not the URL of a proxy; {CORRECT_PROXY}"
            ) from None
        untyped.cert_verify(pool, self._url, self._verify, None)
        return cast("HTTPConnectionPool", pool)


def _check_certificates(place: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if Path(place).is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except OSError as error:
        reason = "it has none" if isinstance(error, ssl.SSLError) else error.strerror
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        name = next(each for each in names if os.environ.get(each))
        raise EnvironmentProblemError(
            f"cannot read certificates from {place}: {reason}; correct {name}"
        ) from None
