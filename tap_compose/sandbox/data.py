"""Names, times, ids and shapes of bodies, for all parts of the made-up account."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from random import Random

Body = dict[str, Any]

API = "https://api.compose.io/2016-07"
"""The base of the API's links. The sandbox replaces it by its own URL in what it sends."""

NOW = datetime(2018, 6, 1, 12, 0, 0, tzinfo=timezone.utc)
"""The account's present: nothing in it is later, but for times that mean "still current"."""

OPENED = datetime(2015, 3, 2, 9, 0, 0, tzinfo=timezone.utc)
"""When the account was opened, with its first deployment."""


class Database(NamedTuple):
    """A type of database.

    Attributes:
        type: Its type.
        name: Its name for people.
        purpose: What the account's deployments of this type hold.
        versions: The status of each version, the oldest first.
        preferred: The versions that are offered first.
        price: US dollars per unit and month; 0 if it is free.
        unit_type: What is counted in units.
        starting_units: The fewest units.
        uses_of_backups: Whether its backups can be downloaded, and whether they can be restored.
    """

    type: str
    name: str
    purpose: str
    versions: dict[str, str]
    preferred: list[str]
    price: float
    unit_type: str
    starting_units: int
    uses_of_backups: str

    @property
    def stable(self) -> list[str]:
        """The versions that are neither beta nor deprecated; all if there are none."""
        found = [version for version, status in self.versions.items() if status == "stable"]
        return found or list(self.versions)


_STATUSES = {"-": "deprecated", "~": "beta"}
"""What the sign behind a version in ``DATABASES`` means; without one it is stable."""


def _database(line: str) -> Database:
    kind, name, purpose, versions, price, unit_type, starting, uses = line.split("|")
    words = versions.split()
    return Database(
        type=kind,
        name=name,
        purpose=purpose,
        versions={each.strip("-~*"): _STATUSES.get(each[-1], "stable") for each in words},
        preferred=[each.strip("*~") for each in words if "*" in each],
        price=float(price),
        unit_type=unit_type,
        starting_units=int(starting),
        uses_of_backups=uses,
    )


# A version is deprecated (-), beta (~), preferred (*). Which backups can be downloaded or restored
# is from the vendor's page on backups.
DATABASES = [
    _database(line)
    for line in """\
postgresql|PostgreSQL|orders|9.4.10- 9.4.15* 9.5.10* 9.6.6* 10.1~|17.5|data|1|download restore
elastic_search|Elasticsearch|search|1.7.5- 2.4.0- 5.6.3*|22.5|data|2|restore
redis|Redis|sessions|3.2.11 4.0.8*|11.25|memory|1|download restore
mongodb|MongoDB|catalogue|3.2.18- 3.4.10* 3.6.2~|15.6|data|1|download restore
rabbitmq|RabbitMQ|queue|3.6.14*|16|memory|1|download restore
mysql|MySQL|shop|5.7.20*|14.25|data|1|download
etcd|etcd|config|2.3.8* 3.2.10*|9.75|data|1|download
rethink|RethinkDB|feed|2.3.6*|15|data|1|download
scylla|ScyllaDB|metrics|2.0.2*|6.4|data|10|restore
janusgraph|JanusGraph|recommendations|0.1.1*~|25|data|1|
disque|Disque|jobs|1.0-rc1*~|0|memory|1|""".splitlines()
]
PEOPLE = (
    ("Ada Byron", "ada"),
    ("Edgar Codd", "edgar"),
    ("Grace Murray", "grace"),
    ("Jim Gray", "jim"),
    ("Barbara Huberman", "barbara"),
    ("Michael Stone", "michael"),
    ("Ivy Ooi", "ivy"),
)
"""The account's users. Ada opened it; the next three configure deployments, the rest read data."""

INACTIVE_SINCE = datetime(2018, 1, 15, 17, 0, 0, tzinfo=timezone.utc)
"""When the last of ``PEOPLE`` was last seen."""

FORMER: Body = {"id": f"{77:024x}", "name": "Rob Field"}
"""Somebody who is no longer a user of the account, but still has a role."""

DATACENTERS = (
    ("aws", "us-east-1"),
    ("aws", "eu-west-1"),
    ("gce", "us-central1"),
    ("softlayer", "ams-3"),
)


def made_id(random: Random) -> str:
    """Return a new id: 24 hexadecimal digits."""
    return f"{random.getrandbits(96):024x}"


def user_id(place: int) -> str:
    """Return the id of one of ``PEOPLE``."""
    return f"{place + 1:024x}"


def address_of(place: int) -> str:
    """Return the address from which one of ``PEOPLE`` works."""
    return f"198.51.100.{place + 11}"


def formatted(moment: datetime, spelling: int) -> str:
    """Write a time in one of the three spellings that the API uses.

    Args:
        moment: An aware datetime.
        spelling: Chooses the spelling; any number.

    Returns:
        The text; without a fraction only where that loses nothing.
    """
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    if spelling % 3 == 1 and not utc.microsecond:
        return f"{utc.isoformat()}Z"
    if spelling % 3 == 2:
        return f"{(utc - timedelta(hours=5)).isoformat(timespec='milliseconds')}-05:00"
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def listed(name: str, items: list[Body]) -> Body:
    """Return the body of a list."""
    return {"_embedded": {name: items}}


def link(address: str) -> Body:
    """Return a link; all are templated."""
    return {"href": f"{address}{{?embed}}", "templated": True}
