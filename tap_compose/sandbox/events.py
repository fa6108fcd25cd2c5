"""The audit log of the made-up account."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import API, NOW, OPENED, PEOPLE, Body, Deployment, formatted, link

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT_CODES = (
    "provision",
    "provision_from_backup",
    "apply_configuration",
    "reconfig",
    "version.update",
    "backup",
    "backup_on_demand",
    "capsule.destroy",
    "install_lets_encrypt_certs",
    "deprovision",
    "add.haproxy",
    "add.kibana",
    "remove.kibana",
    "add.nodes",
    "remove.node",
    "scale.members",
)
"""All that are known (docs/compose-api.md, Event codes)."""

_EVENTS = tuple(f"deployment.{each}" for each in (*EVENT_CODES, *["backup"] * 7))
"""Backups are made daily, so many events are about them."""


class EventLog:
    """The audit events, oldest first; built when requested, because there may be millions.

    Args:
        account_id: The account, if there are no deployments.
        deployments: The deployments that events concern.
        events: How many events.
        seed: Decides everything else.
    """

    def __init__(
        self, account_id: str, deployments: Sequence[Deployment], *, events: int, seed: int
    ) -> None:
        self._prefix = f"{Random(f'{seed}/events').getrandbits(32):08x}"
        self._account_id = account_id
        self._deployments = deployments
        self.times = event_times(Random(f"{seed}/event times"), events)
        self._written: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Count the events."""
        return len(self.times)

    def add(self, moment: datetime) -> str:
        """Add an event, newer than all others.

        Args:
            moment: When; no earlier than the newest event.

        Returns:
            The new event's id.
        """
        self.times.append(int(moment.timestamp() * 1000))
        return self.id_at(len(self.times) - 1)

    def id_at(self, index: int) -> str:
        """The id of an event by its place from the oldest on."""
        return f"{self._prefix}{index:016x}"

    def index_of(self, event_id: str) -> int:
        """The place of an event by its id; raises ValueError if there is none."""
        index = int(event_id[8:], 16)
        if not 0 <= index < len(self.times) or event_id != self.id_at(index):
            raise ValueError(event_id)
        return index

    def event_at(self, index: int) -> Body:
        """Return an event as the API sends it.

        Args:
            index: Its place from the oldest on.

        Returns:
            The event.
        """
        moment = datetime.fromtimestamp(self.times[index] / 1000, timezone.utc)
        what = _EVENTS[index * 7 % len(_EVENTS)]
        _, user = PEOPLE[index % len(PEOPLE)]
        event: Body = {
            "id": self.id_at(index),
            "account_id": self._account_id,
            "created_at": formatted(moment, index),
            "event": what,
            "data": {},
            "_links": {"self": link(f"{API}/audit_events/{self.id_at(index)}")},
        }
        if index % 5:
            event["user_id"] = f"{index % len(PEOPLE) + 1:024x}"
            event["email"] = f"{user}@northwind.example"
            event["ip"] = f"198.51.100.{index % 250 + 1}"
            event["user_agent"] = "Mozilla/5.0 (X11; Linux x86_64)"
        elif index % 2:  # done by the platform; sometimes null, sometimes absent
            event |= {"user_id": None, "email": None, "ip": None, "user_agent": None}
        if self._deployments:
            deployment = self._deployments[index % len(self._deployments)]
            event["account_id"] = deployment.account_id
            event["deployment_id"] = deployment.id
            event["cluster_id"] = deployment.cluster_id
            if deployment.quirks.here(index, every=9):
                event["cluster_id"] = None
            elif deployment.quirks.here(index, every=11):
                del event["deployment_id"]
            units = index % 9 + 1
            event["data"] = {
                "units": str(units),
                "memory": f"{units} GB",
                "storage": f"{2 * units} GB",
                "cluster": deployment.cluster_name,
                "deployment": deployment.name,
            }
        return event

    def page(
        self,
        *,
        limit: int,
        cursor: int | None,
        newer_than: datetime | None,
        older_than: datetime | None,
        inclusive: bool,
    ) -> bytes:
        """Return a page of events, newest first.

        Args:
            limit: How many at most.
            cursor: The place of the last event of the page before, from the oldest on.
            newer_than: The lower bound.
            older_than: The upper bound.
            inclusive: Whether an event at a bound's instant is inside it.

        Returns:
            The body.
        """
        low, high = 0, len(self.times)
        if newer_than is not None:
            at = newer_than.timestamp() * 1000
            low = (bisect_left if inclusive else bisect_right)(self.times, at)
        if older_than is not None:
            at = older_than.timestamp() * 1000
            high = (bisect_right if inclusive else bisect_left)(self.times, at)
        if cursor is not None:
            high = min(high, cursor)
        events = map(self._json_at, range(high - 1, max(low, high - limit) - 1, -1))
        return b'{"_embedded": {"audit_events": [%s]}}' % b", ".join(events)

    def _json_at(self, index: int) -> bytes:
        """Encode an event once: a benchmark requests the same ones many times."""
        written = self._written.get(index)
        if written is None:
            written = self._written[index] = json.dumps(self.event_at(index)).encode()
        return written


def event_times(random: Random, events: int) -> list[int]:
    """Milliseconds: a steady trickle, quiet months, and bursts within a second or an instant."""
    first, last = int(OPENED.timestamp() * 1000), int(NOW.timestamp() * 1000) - 60_000
    quiet = int(datetime(2016, 8, 1, tzinfo=timezone.utc).timestamp() * 1000)
    month = 30 * 24 * 3600 * 1000
    times: list[int] = []
    while len(times) < events:
        at = random.randrange(first, last)
        if quiet <= at < quiet + 4 * month:
            continue
        burst = min(random.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 40)), events - len(times))
        spread = random.choice((0, 999, 60_000))
        times += [at] if burst == 1 else [at + random.randint(0, spread) for _ in range(burst)]
    times.sort()
    return times
