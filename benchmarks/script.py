"""What somebody would write for one account: requests, 16 threads, decode, write lines.

No Singer, no retries, no checks. The windows of the audit log hold equal numbers of events, which
only somebody who knows them can cut.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests
import requests.adapters

URL = os.environ["TAP_COMPOSE_API_URL"]
WORKERS = int(os.environ["TAP_COMPOSE_MAX_CONCURRENCY"])

session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WORKERS))
session.headers["Authorization"] = f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"


class Reader:
    """Fetches the records of a stream, as structs of its columns, whatever their types."""

    def __init__(self, envelope: str, columns: list[str]) -> None:
        self._envelope = envelope
        shape = msgspec.defstruct("Record", [(name, Any, None) for name in columns])
        if envelope:
            entries: Any = list[shape]  # type: ignore[valid-type]
            inner = msgspec.defstruct("Inner", [(envelope, entries, [])])
            shape = msgspec.defstruct("Outer", [("_embedded", inner)])
        self._decode = msgspec.json.Decoder(shape).decode

    def read(self, path: str) -> list[Any]:
        """Return the records of a body."""
        content: Any = self._decode(session.get(URL + path).content)
        return getattr(content._embedded, self._envelope) if self._envelope else [content]

    def window(self, bounds: list[str]) -> list[Any]:
        """Return the events of a window of the audit log, page by page."""
        query = {"limit": "100", "newer_than": bounds[0], "older_than": bounds[1]}
        events: list[Any] = []
        while True:
            page = self.read(f"/audit_events?{urlencode(query)}")
            events += page
            if len(page) < 100:
                return events
            query["cursor"] = page[-1].id


def main() -> None:
    """Fetch what the file that the argument names describes."""
    work = json.loads(Path(sys.argv[1]).read_text())
    encode = msgspec.json.Encoder().encode
    with ThreadPoolExecutor(WORKERS) as pool:
        for name, path, envelope, columns in work["streams"]:
            reader = Reader(envelope, columns)
            head = b'{"type":"RECORD","stream":"%s","record":' % name.encode()
            if name == "audit_events":
                parts = pool.map(reader.window, work["windows"])
            else:
                parts = pool.map(reader.read, map(path.format, work["ids"]))
            for records in parts:
                lines = [b"%s%s}\n" % (head, encode(each)) for each in records]
                sys.stdout.buffer.write(b"".join(lines))


if __name__ == "__main__":
    main()
