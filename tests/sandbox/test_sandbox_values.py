"""What the sandbox holds is what was recorded: docs/compose-api.md, Recorded values."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.sandbox.quirks import Quirks
from tests.support.sandbox_api import Api, running
from tests.support.wire import OF

if TYPE_CHECKING:
    from collections.abc import Callable


def _starting_units(api: Api) -> set[Any]:
    types = {each["id"]: each["type"] for each in api.objects(OF)}
    paths = api.paths(f"{OF}/scalings")
    return {
        (
            kind if kind in {"elastic_search", "scylla"} else "others",
            api.get(path)["starting_units"],
        )
        for path in paths
        for kind in [types[path.split("/")[1]]]
    }


def _mongodb_unit(api: Api) -> set[Any]:
    return {
        (body["storage_per_unit_in_mb"], body["memory_per_unit_in_mb"])
        for each in api.objects(OF)
        if each["type"] == "mongodb"
        for body in [api.get(f"deployments/{each['id']}/scalings")]
    }


def _minimum_is_the_greater(api: Api) -> set[Any]:
    return {
        each["minimum_units"] == max(each["used_units"], each["starting_units"])
        for each in api.objects(f"{OF}/scalings")
    }


def _from_version_is_the_own(api: Api) -> set[Any]:
    versions = {each["id"]: each["version"] for each in api.objects(OF)}
    return {
        transition["from_version"] == versions[path.split("/")[1]]
        for path in api.paths(f"{OF}/versions")
        for transition in api.get(path)["_embedded"]["transitions"]
    }


def _maps(api: Api) -> set[Any]:
    return {
        (each["type"] == "scylla", bool(each["connection_strings"]["maps"]))
        for each in api.objects(OF)
    }


def _misc(api: Api) -> set[Any]:
    return {
        (each["type"] == "redis", *sorted(each["connection_strings"]["misc"]))
        for each in api.objects(OF)
    }


def _cluster_links(api: Api) -> set[Any]:
    return {each["cluster_id"] in each["_links"]["cluster"]["href"] for each in api.objects(OF)}


def _events_with_a_cluster(api: Api) -> set[Any]:
    return {each["cluster_id"] is not None for each in api.objects("audit_events")}


def _values(path: str, name: str) -> Callable[[Api], set[Any]]:
    return lambda api: {each[name] for each in api.objects(path)}


def _version_statuses(api: Api) -> set[Any]:
    return {
        each["status"] for one in api.objects("databases") for each in one["_embedded"]["versions"]
    }


EVENT_CODES = """
    provision provision_from_backup apply_configuration reconfig version.update backup
    backup_on_demand capsule.destroy install_lets_encrypt_certs deprovision add.haproxy add.kibana
    remove.kibana add.nodes remove.node scale.members
"""
TYPES = """
    elastic_search etcd janusgraph mongodb mysql postgresql rabbitmq redis rethink scylla disque
"""


def _summaries(api: Api) -> set[Any]:
    bodies = [api.get(each) for each in api.paths(f"{OF}/alerts")]
    return {(each["summary"], bool(each["_embedded"]["alerts"])) for each in bodies}


VALUES: dict[str, tuple[Callable[[Api], set[Any]], set[Any]]] = {
    "unit_type": (_values(f"{OF}/scalings", "unit_type"), {"data", "memory"}),
    "a unit of MongoDB": (_mongodb_unit, {(1024, 102)}),
    "starting_units": (_starting_units, {("others", 1), ("elastic_search", 2), ("scylla", 10)}),
    "minimum_units": (_minimum_is_the_greater, {True, False}),
    "status of versions": (_version_statuses, {"stable", "beta", "deprecated"}),
    "status of databases": (_values("databases", "status"), {"stable", "beta"}),
    "event": (
        lambda api: {
            log.event_at(place)["event"]
            for log in [api.sandbox.account.events]
            for place in range(len(log))
        },
        {f"deployment.{each}" for each in EVENT_CODES.split()},
    ),
    "types of databases": (_values("databases", "type"), set(TYPES.split())),
    "types of deployments": (_values("deployments", "type"), set(TYPES.split())),
    "from_version": (_from_version_is_the_own, {True}),
    "maps": (_maps, {(True, True), (False, False)}),
    "misc": (_misc, {(True, "cli_readonly", "direct_readonly", "ssh_cli"), (False,)}),
    "_links.cluster": (_cluster_links, {True}),
    "cluster_id of events": (_events_with_a_cluster, {True}),
    "summary of alerts": (_summaries, {("healthy", False), ("critical", True)}),
    "status of alerts": (_values(f"{OF}/alerts", "status"), {"critical", "waiting"}),
    "types of backups": (
        _values(f"{OF}/backups", "type"),
        {"daily", "weekly", "monthly", "on_demand"},
    ),
    "roles": (_values(f"{OF}/roles", "name"), {"developer", "manager", "admin"}),
    "team roles": (_values(f"{OF}/team_roles", "name"), {"developer", "admin"}),
    "types of portals": (
        _values(f"{OF}/portals", "type"),
        {"haproxy", "ssl", "mongodb", "rethink"},
    ),
    "types of portal users": (_values(f"{OF}/portal_users", "type"), {"ssh", "haproxy"}),
    "methods of versions": (_values(f"{OF}/versions", "method"), {"in_place", "restore"}),
    "recipes": (
        _values(f"{OF}/recipes", "status"),
        {"running", "waiting", "complete", "failed"},
    ),
    "accounts of deployments": (
        lambda api: {len({each["account_id"] for each in api.objects(OF)})},
        {2},
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_recorded_values(name: str, plain: Api) -> None:
    found, wanted = VALUES[name]
    assert found(plain) == wanted


def test_most_events_have_a_cluster(odd: Api) -> None:
    events = odd.objects("audit_events")
    assert 0.8 < sum(each.get("cluster_id") is not None for each in events) / len(events) < 1


def test_what_is_known_of_one_kind_only_is_elsewhere_empty(plain: Api) -> None:
    portals = plain.objects(f"{OF}/portals")
    with_ssl = {
        each["hostname"].split("-")[1].split(".")[0] for each in portals if "ssl_enabled" in each
    }
    redis = {str(place) for place, each in enumerate(plain.objects(OF)) if each["type"] == "redis"}
    assert with_ssl == redis


RARE: dict[str, Callable[[Api], list[bool]]] = {
    "addons without _embedded": lambda api: [
        "addons" in api.get(each) for each in api.paths(f"{OF}/addons")
    ],
    "backups with _id": lambda api: ["_id" in each for each in api.objects(f"{OF}/backups")],
    "logfile as the envelope": lambda api: [
        "logfile" in api.get(each)["_embedded"] for each in api.paths(f"{OF}/logfiles")
    ],
    "one time of a log file": lambda api: [
        len(each.keys() & {"date", "created_at"}) == 1 for each in api.objects(f"{OF}/logfiles")
    ],
    "file_size as text": lambda api: [
        isinstance(each["file_size"], str) for each in api.objects(f"{OF}/logfiles")
    ],
    "single strings": lambda api: [
        isinstance(each["connection_strings"]["health"], str) for each in api.objects(OF)
    ],
    "no cluster_id": lambda api: [not each.get("cluster_id") for each in api.objects(OF)],
    "amounts as text": lambda api: [
        isinstance(each["amount"], str) for each in api.objects("billables")
    ],
    "years beyond 9999": lambda api: [
        each["end_at"].startswith("12017") for each in api.objects("billables")
    ],
    "old scalings": lambda api: ["unit_type" not in each for each in api.objects(f"{OF}/scalings")],
}


@pytest.mark.parametrize("name", RARE)
def test_rare_shapes_can_be_turned_off(name: str, plain: Api, odd: Api) -> None:
    counts = RARE[name]
    with running(Quirks.SOME) as sandbox:
        some = counts(Api(sandbox))
    assert not any(counts(plain))
    assert 0 < sum(some) < len(some) / 5
    assert sum(some) < sum(counts(odd)) < len(some)


def test_a_recipe_that_is_listed_twice_is_the_same(odd: Api) -> None:
    recipes = odd.objects(f"{OF}/recipes")
    by_id = {each["id"]: each for each in recipes}
    assert len(by_id) < len(recipes)
    assert all(by_id[each["id"]] == each for each in recipes)


def test_times_have_three_spellings(plain: Api) -> None:
    times = [each["created_at"] for each in plain.objects(f"{OF}/recipes")]
    spellings = {re.sub(r"\d", "0", each)[19:] for each in times}
    assert spellings == {".000Z", "Z", ".000-00:00"}


def test_the_newest_event_comes_first(plain: Api) -> None:
    times = [each["created_at"] for each in plain.objects("audit_events")]
    moments = [datetime.fromisoformat(each.replace("Z", "+00:00")) for each in times]
    assert moments == sorted(moments, reverse=True)
