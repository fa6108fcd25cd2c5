"""Names, times, ids and shapes of bodies, for all parts of the made-up account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from tap_compose.sandbox.quirks import Quirks

Body = dict[str, Any]

API = "https://api.compose.io/2016-07"
"""The base of the API's links. The sandbox replaces it by its own URL in what it sends."""

NOW = datetime(2018, 6, 1, 12, 0, 0, tzinfo=timezone.utc)
"""The account's present: nothing in it is later, but for times that mean "still current"."""

OPENED = datetime(2015, 3, 2, 9, 0, 0, tzinfo=timezone.utc)


class Database(NamedTuple):
    """A type of database.

    Attributes:
        type: Its type.
        name: Its name for people.
        versions: Its versions, the newest last.
        beta: A version that is not stable yet, if any; ``versions`` themselves if none is.
        unit_type: What is counted in units.
        starting_units: The fewest units.
        can_download: Whether its backups can be downloaded.
        can_restore: Whether its backups can be restored.
    """

    type: str
    name: str
    versions: tuple[str, ...]
    beta: tuple[str, ...] = ()
    unit_type: str = "data"
    starting_units: int = 1
    can_download: bool = False
    can_restore: bool = False


DATABASES = (
    Database(
        "postgresql",
        "PostgreSQL",
        ("9.4.10", "9.5.10", "9.6.6"),
        beta=("10.1",),
        can_download=True,
        can_restore=True,
    ),
    Database(
        "elastic_search",
        "Elasticsearch",
        ("1.7.5", "2.4.0", "5.6.3"),
        starting_units=2,
        can_restore=True,
    ),
    Database(
        "redis",
        "Redis",
        ("3.2.11", "4.0.8"),
        unit_type="memory",
        can_download=True,
        can_restore=True,
    ),
    Database(
        "mongodb",
        "MongoDB",
        ("3.2.18", "3.4.10"),
        beta=("3.6.2",),
        can_download=True,
        can_restore=True,
    ),
    Database(
        "rabbitmq",
        "RabbitMQ",
        ("3.6.14",),
        unit_type="memory",
        can_download=True,
        can_restore=True,
    ),
    Database("mysql", "MySQL", ("5.7.20",), can_download=True),
    Database("etcd", "etcd", ("2.3.8", "3.2.10"), can_download=True),
    Database("rethink", "RethinkDB", ("2.3.6",), can_download=True),
    Database("scylla", "ScyllaDB", ("2.0.2",), ("2.0.2",), starting_units=10, can_restore=True),
    Database("janusgraph", "JanusGraph", ("0.1.1",), ("0.1.1",)),
    Database("disque", "Disque", ("1.0-rc1",), ("1.0-rc1",), unit_type="memory"),
)
PEOPLE = (
    ("Ada Byron", "ada"),
    ("Edgar Codd", "edgar"),
    ("Grace Murray", "grace"),
    ("Jim Gray", "jim"),
    ("Barbara Huberman", "barbara"),
    ("Michael Stone", "michael"),
    ("Ivy Ooi", "ivy"),
)
PURPOSES = ("orders", "search", "sessions", "catalogue", "queue", "billing", "config", "events")
DATACENTERS = (
    ("aws", "us-east-1"),
    ("aws", "eu-west-1"),
    ("gce", "us-central1"),
    ("softlayer", "ams-3"),
)


@dataclass(frozen=True)
class Deployment:
    """What the bodies of a deployment are made from.

    Attributes:
        id: Its id.
        index: Its place in the list of deployments.
        name: Its name.
        account_id: The account that it belongs to.
        cluster_id: The cluster that it runs on.
        cluster_name: The name of that cluster.
        people: The users of that account.
        recipes: How many recipes it has at the top level.
        quirks: How many rare shapes there are.
        is_ill: Whether alerts are raised on it.
    """

    id: str
    index: int
    name: str
    account_id: str
    cluster_id: str
    cluster_name: str
    people: list[Body]
    recipes: int
    quirks: Quirks
    is_ill: bool = False

    def has_quirk(self, *, every: int) -> bool:
        """Return whether it has a rare shape that one in so many has, see ``Quirks``."""
        return self.quirks.here(self.index, every=every)

    @property
    def database(self) -> Database:
        """The type of its database."""
        return DATABASES[self.index % len(DATABASES)]

    @property
    def version(self) -> str:
        """The version of its database: not always the newest."""
        versions = self.database.versions
        return versions[(self.index + self.index // len(DATABASES) + 1) % len(versions)]


def made_id(random: Random) -> str:
    """Return a new id: 24 hexadecimal digits."""
    return f"{random.getrandbits(96):024x}"


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
