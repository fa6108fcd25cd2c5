"""The audit log of the made-up account."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import (
    API,
    INACTIVE_SINCE,
    NOW,
    OPENED,
    PEOPLE,
    Body,
    address_of,
    formatted,
    link,
    user_id,
)
from tap_compose.sandbox.history import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_compose.sandbox.history import Deployment

_BY_PEOPLE = (*["apply_configuration", "reconfig"] * 3, "backup_on_demand")
_BY_THE_PLATFORM = (*["backup"] * 9, "install_lets_encrypt_certs")
"""What happens again and again; what happens seldom is in ``Deployment.steps``."""

_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Macintosh)", "curl/7.58.0")
"""Browsers and scripts of 2018."""


class EventLog:
    """The audit events, oldest first; built when requested, because there may be millions.

    Args:
        account_id: The account, if there are no deployments.
        deployments: The deployments that events concern.
        events: How many events; of what was done to deployments the newest, if there are too few.
        seed: Decides everything else.
    """

    def __init__(
        self, account_id: str, deployments: Sequence[Deployment], *, events: int, seed: int
    ) -> None:
        self._prefix = f"{Random(f'{seed}/events').getrandbits(32):08x}"
        self._account_id = account_id
        self._deployments = sorted(
            (each for each in deployments if not each.gone), key=lambda each: each.created_at
        )
        self._starts = [_milliseconds(each.created_at) for each in self._deployments]
        steps = sorted(
            ((_milliseconds(step.at), each, step) for each in deployments for step in each.steps),
            key=lambda each: each[0],
        )
        steps = steps[max(0, len(steps) - events) :]
        self.times = event_times(Random(f"{seed}/event times"), events - len(steps))
        self.times = sorted([*self.times, *(at for at, _, _ in steps)])
        self._steps: dict[int, tuple[Deployment, Step]] = {}
        for at, deployment, step in steps:
            place = bisect_left(self.times, at)
            while place in self._steps:
                place += 1
            self._steps[place] = (deployment, step)
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
        self.times.append(_milliseconds(moment))
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
        deployment, step = self._steps.get(index) or self._routine(index, moment)
        event: Body = {
            "id": self.id_at(index),
            "account_id": deployment.account_id if deployment else self._account_id,
            "created_at": formatted(moment, index),
            "event": f"deployment.{step.event}",
            "data": {},
            "_links": {"self": link(f"{API}/audit_events/{self.id_at(index)}")},
        }
        if step.person is not None:
            event["user_id"] = user_id(step.person)
            event["email"] = f"{PEOPLE[step.person][1]}@northwind.example"
            event["ip"] = address_of(step.person)
            event["user_agent"] = _AGENTS[step.person % len(_AGENTS)]
        elif index % 2:  # done by the platform; sometimes null, sometimes absent
            event |= {"user_id": None, "email": None, "ip": None, "user_agent": None}
        if deployment:
            event["deployment_id"] = deployment.id
            event["cluster_id"] = deployment.cluster_id
            if deployment.quirks.here(index, every=9):
                event["cluster_id"] = None
            elif deployment.quirks.here(index, every=11):
                del event["deployment_id"]
            event["data"] = {
                "units": str(step.units),
                "memory": f"{step.units} GB",
                "storage": f"{2 * step.units} GB",
                "cluster": deployment.cluster_name,
                "deployment": deployment.name,
            }
        return event

    def _routine(self, index: int, moment: datetime) -> tuple[Deployment | None, Step]:
        """An event that happens again and again, on a deployment that is there at the time."""
        is_active = moment < INACTIVE_SINCE
        person = None if index % 5 < 2 else index * 3 % (len(PEOPLE) - (not is_active))
        codes = _BY_THE_PLATFORM if person is None else _BY_PEOPLE
        event = codes[index * 7 // 5 % len(codes)]
        known = bisect_right(self._starts, self.times[index])
        deployment = self._deployments[index % (known or 1)] if self._deployments else None
        units = deployment.units_at(moment) if deployment else 0
        return deployment, Step(moment, event, "", person, units)

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
    first, last = _milliseconds(OPENED), _milliseconds(NOW) - 60_000
    quiet = _milliseconds(datetime(2016, 8, 1, tzinfo=timezone.utc))
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


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
