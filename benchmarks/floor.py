"""What no tap on these libraries can beat: fetch, decode and write lines, nothing else.

No Singer, no retries, no checks. Audit events are paged in windows of equal numbers of events,
which only somebody who knows them can cut. ``http`` in place of ``requests`` shows what
requests costs; ``fetch`` decodes nothing and shows what the sandbox can serve.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec
import requests
import requests.adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = os.environ["TAP_COMPOSE_API_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"}
WORKERS = int(os.environ["TAP_COMPOSE_MAX_CONCURRENCY"])


def by_requests() -> Callable[[str], bytes]:
    """Fetch with requests."""
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WORKERS))
    session.headers.update(HEADERS)
    return lambda path: session.get(URL + path).content


def by_http() -> Callable[[str], bytes]:
    """Fetch with http.client."""
    place = threading.local()
    address = urlsplit(URL)

    def fetch(path: str) -> bytes:
        if not hasattr(place, "connection"):
            place.connection = http.client.HTTPConnection(str(address.hostname), address.port)
        place.connection.request("GET", address.path + path, headers=HEADERS)
        body: bytes = place.connection.getresponse().read()
        return body

    return fetch


def decoder_of(declared: dict[str, Any]) -> tuple[Callable[[bytes], Any], str]:
    """Decode to structs of the stream's columns, whatever their types."""
    record = msgspec.defstruct("Record", [(name, Any, None) for name in declared["columns"]])
    name = declared["envelope"]
    if not name:
        return msgspec.json.Decoder(record).decode, ""
    entries: Any = list[record]  # type: ignore[valid-type]
    inner = msgspec.defstruct("Inner", [(name, entries, [])])
    outer = msgspec.defstruct("Outer", [("_embedded", inner, None)])
    return msgspec.json.Decoder(outer).decode, name


def write(declared: dict[str, Any], bodies: Iterator[bytes]) -> None:
    """Decode bodies and write lines."""
    decode, envelope = decoder_of(declared)
    encode = msgspec.json.Encoder().encode
    head = b'{"type":"RECORD","stream":"%s","record":' % declared["name"].encode()
    out = sys.stdout.buffer
    for body in bodies:
        content = decode(body)
        inner = getattr(content, "_embedded", None)
        records = getattr(inner, envelope) if inner is not None else [content]
        out.write(b"".join([b"%s%s}\n" % (head, encode(each)) for each in records]))


class Event(msgspec.Struct):
    """What leads to the next page."""

    id: str


class Events(msgspec.Struct):
    """The envelope's list."""

    audit_events: list[Event]


class Page(msgspec.Struct, rename={"embedded": "_embedded"}):
    """A page of the audit log."""

    embedded: Events


def window(fetch: Callable[[str], bytes], bounds: list[str]) -> list[bytes]:
    """Page through a window of the audit log."""
    read = msgspec.json.Decoder(Page).decode
    query = {"limit": "100", "newer_than": bounds[0], "older_than": bounds[1]}
    pages = []
    while True:
        pages.append(fetch(f"/audit_events?{urlencode(query)}"))
        events = read(pages[-1]).embedded.audit_events
        if len(events) < 100:
            return pages
        query["cursor"] = events[-1].id


def main() -> None:
    """Do what the arguments say: how, and a file with what is to be fetched."""
    how, plan = sys.argv[1:]
    fetch = {"requests": by_requests, "http": by_http, "fetch": by_http}[how]()
    with Path(plan).open() as file:
        work = json.load(file)
    with ThreadPoolExecutor(WORKERS) as pool:
        for declared in work["streams"]:
            if declared["name"] == "audit_events":
                for pages in pool.map(partial(window, fetch), work["windows"]):
                    if how != "fetch":
                        write(declared, iter(pages))
                continue
            bodies = pool.map(fetch, [declared["path"].format(each) for each in work["ids"]])
            if how == "fetch":
                print(sum(map(len, bodies)))
            else:
                write(declared, bodies)


if __name__ == "__main__":
    main()
