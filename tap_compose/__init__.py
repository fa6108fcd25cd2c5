"""Singer tap for the Compose API."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # a tenth of a second

        return version("tap-compose")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
