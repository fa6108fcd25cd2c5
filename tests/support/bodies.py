"""Running the tap on bodies that a test writes down."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import responses

from tap_compose.times import canonical_time
from tests.support.tap_runs import catalog_of, sync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

    from tests.support.tap_runs import Output

API = "http://127.0.0.1:9"


def listed(name: str, *entries: Any, **others: Any) -> dict[str, Any]:
    """A list as the API returns it, with other members next to ``_embedded``."""
    return {**others, "_embedded": {name: list(entries)}}


def _are_wanted(body: Any, query: Mapping[str, str]) -> bool:
    """Whether any event of a body is within the bounds of a request, as far as it has times."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    times = re.findall(rb'"created_at": "(\d{4}-\d\d-\d\dT[\d:.]+Z)"', text)
    low, high = query.get("newer_than", ""), query.get("older_than", "9999")
    return not times or any(low <= canonical_time(each.decode()) <= high for each in times)


_catalog = cache(catalog_of)


def sync_bodies(
    bodies: Mapping[str, Any], *streams: str, state: Any = None, **settings: Any
) -> Output:
    """Sync in this process.

    Args:
        bodies: The body of each path, as JSON or bytes; there is one deployment, d, unless given.
        streams: The streams; all if there are none.
        state: The state to begin with.
        settings: Further settings.
    """
    all_bodies = {"/deployments": listed("deployments", {"id": "d"}), **bodies}

    def respond(request: PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(str(request.url))
        body = all_bodies[url.path]
        query = dict(parse_qsl(url.query))
        cursor = query.get("cursor")
        if url.path == "/audit_events" and not _are_wanted(body, query):
            body = listed("audit_events")
        elif cursor is not None:
            entries = body["_embedded"]["audit_events"] if isinstance(body, dict) else []
            place = next((n for n, each in enumerate(entries, 1) if each["id"] == cursor), None)
            body = listed("audit_events", *entries[place:]) if place else listed("audit_events")
        return 200, {}, body if isinstance(body, bytes) else json.dumps(body).encode()

    config = {"api_token": "a-token-for-tests", "api_url": API, "max_retries": 0, **settings}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as api:
        api.add_callback(responses.GET, re.compile(re.escape(API)), respond)
        return sync(config, catalog=_catalog(*streams) if streams else None, state=state)
