"""The streams: one class per report."""

from __future__ import annotations

from tap_compose.streams import account, audit, billing, coverage, deployments, platform, recipes
from tap_compose.streams.singer import SingerStream

STREAMS: tuple[type[SingerStream], ...] = tuple(
    each
    for module in (account, audit, billing, platform, deployments, recipes, coverage)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, SingerStream) and "name" in vars(each)
)
"""Every stream of the tap: the classes that have a name, in the order of docs/streams.md. A run
takes them by name, but coverage last."""
