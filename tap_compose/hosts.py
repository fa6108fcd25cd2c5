"""Find out what kind of host a name is."""

from __future__ import annotations

import ipaddress

PUBLIC_API = "api.compose.io"
"""The host of Compose's public API, which was shut down in 2023."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    Args:
        host: A name or an address, an IPv6 one without brackets.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
