"""What all parts of the made-up account use: names, times, ids and the shapes of bodies."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

Body = dict[str, Any]

NOW = datetime(2018, 6, 1, 12, 0, 0, tzinfo=timezone.utc)
"""The account's present: nothing in it is later, but for times that mean "still current"."""

OPENED = datetime(2015, 3, 2, 9, 0, 0, tzinfo=timezone.utc)

TYPES = (
    ("postgresql", "PostgreSQL", ("9.4.10", "9.5.10", "9.6.6")),
    ("elastic_search", "Elasticsearch", ("1.7.5", "2.4.0", "5.6.3")),
    ("redis", "Redis", ("3.2.11", "4.0.8")),
    ("mongodb", "MongoDB", ("3.2.18", "3.4.10")),
    ("rabbitmq", "RabbitMQ", ("3.6.14",)),
    ("mysql", "MySQL", ("5.7.20",)),
    ("etcd", "etcd", ("2.3.8", "3.2.10")),
    ("rethink", "RethinkDB", ("2.3.6",)),
    ("scylla", "ScyllaDB", ("2.0.2",)),
    ("janusgraph", "JanusGraph", ("0.1.1",)),
    ("disque", "Disque", ("1.0-rc1",)),
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


def links(name: str, path: str) -> Body:
    """Return the member of a body that holds a link to the console."""
    href = f"https://app.compose.example{path}{{?embed}}"
    return {"_links": {name: {"href": href, "templated": True}}}
