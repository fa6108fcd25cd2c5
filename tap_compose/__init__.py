"""Singer tap for the Compose API."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("tap-compose")
