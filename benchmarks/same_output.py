"""Check that the tap of this checkout writes the same lines as the tap of another revision.

``python -m benchmarks.same_output main`` runs both on the sandbox of this checkout and compares
stdout byte for byte, in order. Two things differ between runs of the same revision, so they are
not compared:

- ``time_extracted`` and ``version``;
- all STATE lines but the last, if more than one request is in flight: where a window of the audit
  log ends depends on which response came first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import count, product, zip_longest
from pathlib import Path
from typing import Any

from tap_compose.sandbox.account import Size
from tap_compose.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parent.parent
VARYING = re.compile(rb'(?<="time_extracted":)"[^"]*"|(?<="version":)\d{10,}')
MAPS = {
    "audit_events": {"email": None, "who": "md5(str(email))"},
    "deployments": {"__alias__": "services"},
    "deployment_backups": {"__filter__": "type == 'daily'"},
}
FLAT = {"flattening_enabled": True, "flattening_max_depth": 2}
CHOICE = {"start_date": "2016-07-01", "deployment_shard": "1/2", "include_connection_strings": True}
CASES: list[tuple[str, list[str], dict[str, Any]]] = [
    ("first run", [], {}),
    ("second run", ["--state", "first.json"], {}),
    ("second run after one with end_date", ["--state", "half.json"], {}),
    ("catalog", ["--catalog", "catalog.json"], {}),
    ("stream maps and flattening", [], {"stream_maps": MAPS, **FLAT}),
    ("ACTIVATE_VERSION", [], {"emit_activate_version_messages": True}),
    ("other settings", [], CHOICE),
]


def run(checkout: Path, folder: Path, *arguments: str) -> bytes:
    """Run Python in a folder with the tap_compose of a checkout; return stdout."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("TAP_COMPOSE")}
    env |= {"PYTHONPATH": str(checkout), "LOGLEVEL": "ERROR"}  # comes before an editable install
    command = [sys.executable, *arguments]
    process = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    if process.returncode:
        error = process.stderr.decode()[-1000:]
        sys.exit(f"the tap of {checkout} failed: exit status {process.returncode}\n{error}")
    return process.stdout


def comparable(stdout: bytes, *, is_ordered: bool) -> list[bytes]:
    """Return the lines that are the same in every run; is_ordered: one request after the other."""
    lines = VARYING.sub(b"0", stdout).splitlines()
    last = len(lines) - 1
    return [
        line
        for place, line in enumerate(lines)
        if is_ordered or place == last or not line.startswith(b'{"type":"STATE"')
    ]


def difference(before: list[bytes], after: list[bytes]) -> str:
    """Count the lines that differ and show the first; an empty string if none does."""
    if before == after:
        return ""
    pairs = enumerate(zip_longest(before, after, fillvalue=b""), start=1)
    number, (old, new) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    start = max(0, next(place for place in count() if old[:place] != new[:place]) - 40)
    first = [(line[:50] + b" ... " + line[start : start + 100]).decode() for line in (old, new)]
    gone, added = Counter(before) - Counter(after), Counter(after) - Counter(before)
    counts = f"lines gone {gone.total()}, new {added.total()}" if gone or added else "another order"
    return f"{counts}; first difference at line {number}:\n- {first[0]}\n+ {first[1]}"


def compare(before: Path, after: Path, folder: Path, sandbox: Sandbox) -> bool:
    """Print a line for each case; tell whether all are the same."""
    for checkout in (before, after):
        source = "import tap_compose; print(tap_compose.__file__)"
        imported = run(checkout, folder, "-c", source).decode()
        if not Path(imported).is_relative_to(checkout):
            sys.exit(f"{checkout} cannot be compared: Python imports {imported}")

    def sync(checkout: Path, *arguments: str, **settings: Any) -> bytes:
        settings |= {"api_url": sandbox.url, "api_token": sandbox.token}
        (folder / "config.json").write_text(json.dumps(settings))
        return run(checkout, folder, "-m", "tap_compose", "--config", "config.json", *arguments)

    for name, settings in (("first.json", {}), ("half.json", {"end_date": "2016-07-01"})):
        state = json.loads(sync(before, **settings).splitlines()[-1])["value"]
        (folder / name).write_text(json.dumps(state))
    catalog = json.loads(sync(before, "--discover"))
    for number, stream in enumerate(catalog["streams"], start=1):
        for column, entry in enumerate(stream["metadata"]):
            is_selected = column % 3 if entry["breadcrumb"] else number % 5
            entry["metadata"]["selected"] = bool(is_selected)
    (folder / "catalog.json").write_text(json.dumps(catalog))
    is_same = True
    for at_once, (name, arguments, more) in product((1, 8, 64), CASES):
        settings = {**more, "max_concurrency": at_once}
        outputs = [sync(checkout, *arguments, **settings) for checkout in (before, after)]
        lines, new_lines = (comparable(each, is_ordered=at_once == 1) for each in outputs)
        result = difference(lines, new_lines) or f"same, {len(lines):,} lines"
        print(f"max_concurrency {at_once}, {name}: {result}", flush=True)
        is_same = is_same and lines == new_lines
    return is_same


def main() -> None:
    """Compare this checkout with the revision that the argument names."""
    parser = argparse.ArgumentParser(description="Compare the output of two revisions of the tap.")
    parser.add_argument("revision", help="the one to compare this checkout with, such as main")
    git = [shutil.which("git") or "git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as name, Sandbox(Size(20, 5000, seed=1)) as sandbox:
        folder = Path(name).resolve()
        before = folder / "before"
        add = [*git, "add", "--quiet", "--detach", str(before), parser.parse_args().revision]
        if subprocess.run(add, check=False).returncode:
            sys.exit("the revision cannot be checked out: git says why; name a commit or a branch")
        try:
            is_same = compare(before, ROOT, folder, sandbox)
        finally:
            subprocess.run([*git, "remove", "--force", str(before)], check=True)
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
