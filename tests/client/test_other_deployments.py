"""A whole run against a server that sends each body of another deployment first."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import requests

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.raw_server import kept, raw_server
from tests.support.tap_runs import catalog_of, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Callable

# Their bodies tell which deployment they belong to.
STREAMS = ("deployment_details", "deployment_alerts", "deployment_backups", "deployment_recipes")


def _responses_of(sandbox: Sandbox) -> Callable[[str], tuple[int, bytes]]:
    @cache
    def get(path: str) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        response = requests.get(sandbox.url + path, headers=headers, timeout=60)
        return response.status_code, response.content

    return get


def test_a_body_of_another_deployment_is_never_written() -> None:
    swapped: set[str] = set()
    catalog = catalog_of(*STREAMS)
    with Sandbox(Size(deployments=12, events=10, recipes=3)) as sandbox:
        expected = sync(config_for(sandbox), catalog=catalog)
        get = _responses_of(sandbox)
        ids = sandbox.account.deployment_ids

        def respond(path: str) -> bytes:
            status, body = get(path)
            own = path.removeprefix("/deployments/")[:24]
            if own in ids and status == 200 and path not in swapped:
                other = ids[(ids.index(own) + 1) % len(ids)]
                _, wrong = get(path.replace(own, other))
                if other.encode() in wrong and own.encode() in body:
                    swapped.add(path)
                    return kept(wrong)
            return kept(body, b"%d X" % status)

        with raw_server(respond) as server:
            output = sync(config_for(sandbox, api_url=server.url), catalog=catalog)
    assert (output.status, output.rows) == (expected.status, expected.rows)
    assert len(swapped) > 2 * len(ids)
    used: dict[str, set[int]] = {}  # the connections until another deployment's body came
    for place, each in enumerate(server.requests):
        if each.path in used:
            assert each.connection not in used[each.path]
        elif each.path in swapped:
            used[each.path] = {before.connection for before in server.requests[: place + 1]}
