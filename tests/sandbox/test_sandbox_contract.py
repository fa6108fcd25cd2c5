"""The bodies of the sandbox are what docs/compose-api.md says of the API's, line by line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from tests.support import ROOT
from tests.support.wire import LINES, OF, Line

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.path)
def test_a_line_of_the_read_endpoints(line: Line, plain: Api, odd: Api) -> None:
    objects = {api: api.objects(line.path) for api in (plain, odd)}
    for each in objects[plain] + objects[odd]:
        Draft202012Validator(line.schema).validate(each)
    names = line.schema["properties"].keys() - set(line.never)
    filled = {
        api: {name for each in objects[api] for name in names if each.get(name) is not None}
        for api in (plain, odd)
    }
    assert filled[plain] == names - {"_id"}
    assert filled[plain] | filled[odd] == names
    absent = {name for each in objects[odd] for name in names if each.get(name) is None}
    assert absent == names - set(line.schema["required"])


def test_every_path_of_the_page_is_held() -> None:
    page = (ROOT / "docs" / "compose-api.md").read_text()
    tables = page.split("\n## Read endpoints\n")[1].split("\n## ")[0]
    paths = re.findall(r"^\| `/(.*?)`", tables, re.MULTILINE)
    held = [re.sub(":account|:deployment", ":id", each.path) for each in LINES]
    assert sorted(held) == sorted(paths)


SINGLE: dict[str, tuple[str, str]] = {
    "recipes/:id": (f"{OF}/recipes", "recipes/{id}"),
    "audit_events/:id": ("audit_events", "audit_events/{id}"),
    "teams/:id": ("teams", "teams/{id}"),
    "clusters/:id": ("clusters", "clusters/{id}"),
    "backups/:backup_id": (f"{OF}/backups", f"{OF}/backups/{{id}}"),
    "logfiles/:logfile_id": (f"{OF}/logfiles", f"{OF}/logfiles/{{id}}"),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_object_is_that_of_the_list(name: str, plain: Api) -> None:
    template, path = SINGLE[name]
    for each in plain.objects(template):
        found = plain.get(path.replace(":deployment", each.get("deployment_id", "")).format(**each))
        has_link = name in {"backups/:backup_id", "logfiles/:logfile_id"}
        download = found.pop("download_link", None)
        assert bool(download) == (has_link and each.get("is_downloadable", True))
        assert found == each


def test_a_backup_can_be_found_by_its_other_name(odd: Api) -> None:
    backup = next(each for each in odd.objects(f"{OF}/backups") if "_id" in each)
    path = f"deployments/{backup['deployment_id']}/backups/{backup['_id']}"
    assert odd.get(path)["_id"] == backup["_id"]


def test_the_recipe_that_provisioned_a_deployment_can_be_asked_for(plain: Api) -> None:
    for details in plain.objects(OF):
        recipe = plain.get(f"recipes/{details['provision_recipe_id']}")
        assert (recipe["deployment_id"], recipe["parent_id"]) == (details["id"], None)


def test_some_roles_may_not_read_a_cluster(odd: Api) -> None:
    cluster = odd.objects("clusters")[0]
    assert odd.sent("GET", f"/2016-07/clusters/{cluster['id']}") == (401, "invalid_token")
