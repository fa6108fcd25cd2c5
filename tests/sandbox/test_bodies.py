"""The bodies of the sandbox are what docs/compose-api.md says of the API's."""

from __future__ import annotations

import re
import ssl
from base64 import b64decode
from collections import Counter
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator

from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support import ROOT
from tests.support.contract import OF, RESOURCES, Resource, schema_of
from tests.support.sandbox_api import Api, running

PAGE = (ROOT / "docs" / "compose-api.md").read_text()


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.path)
def test_the_bodies_of_a_path(resource: Resource, plain: Api, odd: Api) -> None:
    objects = {api: api.objects(resource.path) for api in (plain, odd)}
    schema = schema_of(resource.fields)
    validator = Draft202012Validator(schema)
    for each in objects[plain] + objects[odd]:
        validator.validate(each)
    names = schema["properties"].keys() - {"_links", *resource.never.split()}
    filled = {
        api: {name for each in objects[api] for name in names if each.get(name) is not None}
        for api in (plain, odd)
    }
    assert filled[plain] == names - {"_id"}
    assert filled[plain] | filled[odd] == names
    if " " in resource.envelope:
        used = {name for path in odd.paths(resource.path) for name in odd.get(path)["_embedded"]}
        assert used == set(resource.envelope.split())
    absent = {name for each in objects[odd] for name in names if each.get(name) is None}
    assert absent == names - set(schema["required"])


def test_the_table_has_every_path_of_the_page() -> None:
    section = PAGE.split("\n## Read endpoints\n")[1].split("\n## ")[0]
    paths = re.findall(r"^- `/(.*?)`", section, re.MULTILINE)
    assert sorted(re.sub(":account|:deployment", ":id", r.path) for r in RESOURCES) == sorted(paths)


@pytest.mark.parametrize(
    ("path", "single"),
    [
        (f"{OF}/recipes", "recipes/{id}"),
        ("audit_events", "audit_events/{id}"),
        ("teams", "teams/{id}"),
        ("clusters", "clusters/{id}"),
        (f"{OF}/backups", "deployments/{deployment_id}/backups/{id}"),
        (f"{OF}/logfiles", "deployments/{deployment_id}/logfiles/{id}"),
    ],
)
def test_a_single_object_is_that_of_the_list(path: str, single: str, plain: Api) -> None:
    for each in plain.objects(path)[:20]:
        found = plain.get(single.format(**each))
        can_download = path.startswith(OF) and "name" in each and "template" not in each
        link = found.pop("download_link", None)
        assert bool(link) == (can_download and each.get("is_downloadable", True))
        assert found == each


def test_a_client_that_polls_a_recipe_sees_it_finish() -> None:
    with running(Quirks.NONE) as sandbox:
        api = Api(sandbox)
        for place, status in enumerate(["running", "waiting"]):
            deployment_id = sandbox.account.deployment_ids[place]
            listed = f"deployments/{deployment_id}/recipes"
            (first,) = (
                each for each in api.get(listed)["_embedded"]["recipes"] if each["status"] == status
            )
            seen = [api._get(f"recipes/{first['id']}")["status"] for _ in range(5)]
            assert seen == [status] * 3 + ["complete"] * 2
            last = api._get(listed)["_embedded"]["recipes"][0]
            assert (last["id"], last["status"]) == (first["id"], "complete")


FORMS = {
    "postgresql": "postgres://",
    "elastic_search": "https://",
    "redis": "rediss://",
    "mongodb": r"mongodb://\w+:[\w-]+@[\w.-]+:\d+,[\w.-]+:\d+/\w+\?ssl=true$",
}


def test_connection_strings_are_urls_of_the_known_forms(plain: Api) -> None:
    kinds = set()
    for each in plain.objects(OF):
        direct = each["connection_strings"]["direct"]
        kinds.add(each["type"])
        assert len(direct) == 1 + (each["type"] == "elastic_search")
        for text in direct:
            assert re.match(FORMS.get(each["type"], r"[a-z][a-z0-9+.-]*://"), text)
            if each["type"] != "mongodb":  # which names two hosts
                url = urlsplit(text)
                assert (url.username, bool(url.password)) == ("admin", True)
                assert url.hostname
                assert url.port
    assert FORMS.keys() <= kinds


def test_a_certificate_is_a_whole_pem(plain: Api) -> None:
    for each in {each["ca_certificate_base64"] for each in plain.objects(OF)} - {None}:
        assert ssl.PEM_cert_to_DER_cert(b64decode(each).decode())


def test_the_link_to_the_console_ends_in_the_name(plain: Api) -> None:
    for each in plain.objects("deployments"):
        assert each["_links"]["compose_web_ui"]["href"].endswith(f"/{each['name']}{{?embed}}")


RECORDED = (
    ("database types", "databases", "type"),
    ("database types", "deployments", "type"),
    ("unit_type", f"{OF}/scalings", "unit_type"),
    ("name of a role or team role", f"{OF}/roles", "name"),
    ("type of a portal", f"{OF}/portals", "type"),
    ("type of a portal user", f"{OF}/portal_users", "type"),
    ("method of a version change", f"{OF}/versions", "method"),
)


@pytest.mark.parametrize(("line", "path", "name"), RECORDED)
def test_recorded_values(line: str, path: str, name: str, plain: Api) -> None:
    section = PAGE.split("\n## Recorded values\n")[1]
    (values,) = re.findall(rf"^- {line}: ([^;]*?)(?=;|\n[-\n])", section, re.MULTILINE)
    assert {each[name] for each in plain.objects(path)} == set(re.findall("[a-z_]+", values))


def test_statuses(plain: Api) -> None:
    versions = [each for one in plain.objects("databases") for each in one["_embedded"]["versions"]]
    assert {each["status"] for each in versions} == {"stable", "beta", "deprecated"}
    preferred = Counter(each["application"] for each in versions if each["preferred"])
    assert (preferred["postgresql"], preferred["etcd"], preferred["redis"]) == (3, 2, 1)
    recipes = {(each["status"], each["status_detail"]) for each in plain.objects(f"{OF}/recipes")}
    assert ("complete", "All operations have completed successfully!") in recipes
    assert {status for status, _ in recipes} == {"running", "waiting", "complete", "failed"}


def test_events_have_the_known_codes(plain: Api) -> None:
    section = PAGE.split("\n## Event codes\n")[1].split("\n## ")[0]
    lines = re.findall(r"^- [a-z ]+: (.*)$", section, re.MULTILINE)
    codes = {f"deployment.{each}" for each in ", ".join(lines).split(", ")}
    log = plain.sandbox.account.events
    assert {log.event_at(place)["event"] for place in range(len(log))} == codes


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.mark.parametrize("inclusive", [True, False])
def test_pages_and_bounds_of_audit_events(inclusive: bool) -> None:
    with Sandbox(Size(events=300, deployments=0), inclusive_bounds=inclusive) as sandbox:
        api, log = Api(sandbox), sandbox.account.events
        low, high = (
            datetime.fromtimestamp(log.times[place] / 1000, timezone.utc) for place in (100, 190)
        )
        bounds = f"newer_than={low:%Y-%m-%dT%H:%M:%S.%fZ}&older_than={high:%Y-%m-%dT%H:%M:%S.%fZ}"
        path = f"audit_events?limit=40&{bounds}"
        found: list[Any] = []
        for _ in range(3):
            cursor = f"&cursor={found[-1]['id']}" if found else ""
            found += api.get(path + cursor)["_embedded"]["audit_events"]
    wanted = [
        log.id_at(place)
        for place, at in enumerate(log.times)
        if log.times[100] + (not inclusive) <= at <= log.times[190] - (not inclusive)
    ]
    assert [each["id"] for each in found] == wanted[::-1]


def test_the_account_tells_one_story() -> None:
    """What was done to a deployment is the same in its events, its recipes and its bills."""
    account = Account(Size(quirks=Quirks.NONE))
    log = account.events
    events = [log.event_at(place) for place in range(len(log))]
    for deployment_id in account.deployment_ids:
        made = _moment(account.summary(deployment_id)["created_at"])
        recipes = account.resource(deployment_id, "recipes")["_embedded"]["recipes"]
        mine = [each for each in events if each.get("deployment_id") == deployment_id]
        bills = [each for each in account.billables() if each["identifier"] == deployment_id]
        assert _moment(mine[0]["created_at"]) == _moment(recipes[-1]["created_at"]) == made
        assert mine[0]["event"].startswith("deployment.provision")
        assert recipes[-1]["name"] == "Provisioning"
        assert recipes[-1]["source_user"] == mine[0]["user_id"]
        scalings = [each for each in recipes if each["name"].startswith("Scaling")]
        assert {(_moment(each["created_at"]), each["source_user"]) for each in scalings} == {
            (_moment(each["created_at"]), each["user_id"])
            for each in mine
            if re.search(r"\.(scale\.members|add\.nodes|remove\.node)$", each["event"])
        }
        done = [_moment(each["created_at"]) for each in scalings if each["status"] == "complete"]
        starts = [_moment(each["start_at"]) for each in bills]
        assert starts == ([made, *reversed(done)] if starts else [])
        units = account.resource(deployment_id, "scalings")["allocated_units"]
        assert not bills or int(bills[-1]["units"]) == units
    names = {
        each["data"]["deployment"] for each in events if each["event"] == "deployment.deprovision"
    }
    assert names == {"legacy-shop", "trial-cache"}
