"""A deployment of the made-up account, and everything that was done to it.

Events, recipes, billables, sizes and versions all come from ``Deployment.steps``, so they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tap_compose.sandbox.data import DATABASES, NOW, OPENED, Body, Database, made_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.quirks import Quirks

GROUPS = ("prod", "staging", "test")
"""The first deployment of each type is in use, the second a copy of it, and so on."""

TYPES = len(DATABASES)
"""The first so many deployments have each type once."""

# What is wrong in the account, by the place of the deployment in the list.
WAITING, RUNNING = 1, 0
"""A scaling that waits, and alerts; a backup that runs."""
OUTDATED = 1
"""Runs a deprecated version."""
FULL, OVERSIZED = 1, 4
"""Uses all of its units; uses a third of them."""
SHRUNK = (2, 8)
"""Are smaller now than before."""
FAILED_BACKUP, OVERDUE_BACKUP = 3, 5
"""Its last daily backup failed; its last backup is some days old."""
OVERDUE_DAYS = 9
"""Older than the 7 days after which a weekly backup is overdue."""
RESTORED = 5
"""Made from a backup of a deployment that is gone, see ``predecessor``."""
ONE_ADMIN, FORMER_USER = 6, 4
"""Has only one admin; a role of somebody who has left."""
OPEN, UNRESTRICTED, WIDE = 8, 13, 7
"""A whitelist entry for every address; no entry at all, which lets in everybody; a /16."""
NEW_CODE = 6
"""Had another billing code before February 2018."""
NO_CODE = (4, 14)
"""Have no billing code."""


class Step(NamedTuple):
    """Something that was done to a deployment: an audit event, and maybe a recipe.

    Attributes:
        at: When.
        event: The code of the event, without ``deployment.``.
        recipe: The name of the recipe, empty if there is none.
        person: The place in ``PEOPLE`` of who did it; None if the platform did.
        units: How many units the deployment has from then on.
        status: That of the recipe.
    """

    at: datetime
    event: str
    recipe: str
    person: int | None
    units: int
    status: str = "complete"


@dataclass(frozen=True)
class Deployment:
    """What the bodies of a deployment are made from.

    Attributes:
        id: Its id.
        index: Its place in the list of deployments.
        account_id: The account that it belongs to.
        cluster_id: The cluster that it runs on.
        cluster_name: The name of that cluster.
        people: The users of that account.
        recipes: How many recipes it has at the top level.
        quirks: How many rare shapes there are.
        is_ill: Whether alerts are raised on it.
        is_leaving: Whether it is being deprovisioned.
        has_finished: Whether what still ran or waited in the beginning is complete.
        gone: Name, start and end of a deployment that is no longer in the list.
        replaces: The id of the deployment whose data it was made from, if any.
    """

    id: str
    index: int
    account_id: str
    cluster_id: str
    cluster_name: str
    people: list[Body]
    recipes: int
    quirks: Quirks
    is_ill: bool = False
    is_leaving: bool = False
    has_finished: bool = False
    gone: tuple[str, datetime, datetime] | None = None
    replaces: str | None = None

    def has_quirk(self, *, every: int) -> bool:
        """Return whether it has a rare shape that one in so many has, see ``Quirks``."""
        return self.quirks.here(self.index, every=every)

    @property
    def database(self) -> Database:
        """The type of its database."""
        return DATABASES[self.index % TYPES]

    @property
    def group(self) -> int:
        """The place of its group in ``GROUPS``, or beyond."""
        return self.index // TYPES

    @property
    def name(self) -> str:
        """Its name."""
        if self.gone:
            return self.gone[0]
        name = f"{GROUPS[min(self.group, 2)]}-{self.database.purpose}"
        return name if self.group < 2 else f"{name}-{self.group - 1}"

    @property
    def version(self) -> str:
        """The version of its database: not always the newest."""
        if self.index == OUTDATED:
            return "2.4.0"
        stable = self.database.stable
        return stable[-2] if len(stable) > 1 and self.index % 5 == 1 else stable[-1]

    @property
    def creator(self) -> int:
        """The place in ``PEOPLE`` of who made it."""
        return self.index % 4

    @property
    def operator(self) -> int:
        """The place in ``PEOPLE`` of who changes it."""
        return 1 + (self.index + 1) % 3

    @property
    def on_demand_backup(self) -> datetime | None:
        """When the last backup was made that somebody asked for."""
        at = NOW - timedelta(days=self.index, minutes=4)
        return at if self.index % 3 == 0 and at > self.created_at and not self.gone else None

    def capsule(self, number: int) -> str:
        """Return the id of one of its capsules."""
        return made_id(Random(f"capsule {number} of {self.id}"))

    def backup_time(self, day: datetime) -> datetime:
        """Return when the backup of a day is complete."""
        return day.replace(hour=2 + self.index % 3, minute=self.index * 7 % 60, second=31)

    @cached_property
    def created_at(self) -> datetime:
        """When it was made: the groups one after another, in office hours."""
        if self.gone:
            return self.gone[1]
        if self.index == 0:
            return OPENED
        random = Random(f"created {self.id}")
        hour = timedelta(minutes=random.randrange(480), seconds=random.randrange(60))
        if self.group == 0:
            return OPENED + timedelta(days=70 * self.index) + hour
        if self.index < 20:
            first = datetime(2016, 6, 1, 9, tzinfo=timezone.utc)
            return first + timedelta(days=90 * (self.index - TYPES)) + hour
        return OPENED + timedelta(days=random.randrange(30, 1100)) + hour

    @cached_property
    def steps(self) -> list[Step]:
        """What was done to it, the oldest first, without daily backups."""
        made = self.created_at
        units = self.database.starting_units + (self.group == 0)
        event = "provision_from_backup" if self.replaces else "provision"
        steps = [
            Step(made, event, "Provisioning", self.creator, units),
            *self._scalings(units, Random(f"steps of {self.id}")),
        ]
        for at, event, name in self._changes():
            steps.append(Step(at, event, name, self.operator, self._units_at(steps, at)))
        if self.on_demand_backup:
            at = self.on_demand_backup
            is_running = self.index == RUNNING and not self.has_finished
            status = "running" if is_running else "complete"
            known = self._units_at(steps, at)
            steps.append(Step(at, "backup_on_demand", "Backup", self.creator, known, status))
        if self.gone:
            at = self.gone[2] + timedelta(minutes=3)
            steps.append(Step(at, "capsule.destroy", "", None, units))
        return sorted(map(_in_seconds, steps), key=lambda each: each.at)

    def _scalings(self, units: int, random: Random) -> Iterator[Step]:
        starting = self.database.starting_units
        many = 0 if self.gone else 3 if self.group == 0 else self.index % 2
        for number in range(many):
            share = (number + random.uniform(0.3, 0.9)) / max(many, 2)
            at = self.created_at + (NOW - self.created_at) * share
            is_smaller = number == 2 and self.index in SHRUNK
            if is_smaller:
                units = max(starting, units // 2)
            else:
                units += random.randint(1, 2) * starting
            event = "scale.members"
            if starting > 1:  # of several members, one for each unit
                event = "remove.node" if is_smaller else "add.nodes"
            name = "Scaling down" if is_smaller else "Scaling up"
            yield Step(at, event, name, self.operator, units)
            if is_smaller:
                yield Step(at + timedelta(minutes=6), "capsule.destroy", "", None, units)
        if self.index == WAITING and not self.gone:
            at = NOW - timedelta(minutes=50)
            status = "complete" if self.has_finished else "waiting"
            yield Step(at, "add.nodes", "Scaling up", self.operator, units + starting, status)

    def _changes(self) -> Iterator[tuple[datetime, str, str]]:
        """What left its size as it was."""
        made = self.created_at
        age = NOW - made
        yield made + timedelta(minutes=41), "add.haproxy", "Creating haproxy portal"
        if self.gone:
            yield self.gone[2], "deprovision", "Deprovisioning"
            return
        if self.database.type == "elastic_search":
            yield made + age * 0.1, "add.kibana", "Adding Kibana"
            if self.group:
                yield made + age * 0.5, "remove.kibana", "Removing Kibana"
        if self.index % 4 == 0 and len(self.database.versions) > 1:
            yield made + age * 0.6, "version.update", "Upgrading version"
        if self.is_leaving:
            yield NOW - timedelta(minutes=25), "deprovision", "Deprovisioning"

    @staticmethod
    def _units_at(steps: list[Step], moment: datetime) -> int:
        known = [each for each in steps if each.at <= moment and each.status == "complete"]
        return max(known, key=lambda each: each.at).units if known else steps[0].units

    def units_at(self, moment: datetime) -> int:
        """Return how many units it had at a time."""
        return self._units_at(self.steps, moment)


def _in_seconds(step: Step) -> Step:
    return step._replace(at=step.at.replace(microsecond=0))
