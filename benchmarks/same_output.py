"""Check that the tap of this checkout writes the same lines as the tap of another revision.

``python -m benchmarks.same_output main`` runs both on the sandbox of this checkout and compares
stdout line by line, apart from ``time_extracted``, ``version`` and ``read_at``. Of several STATE
lines only the last is compared if more than one request is in flight: where a window of the audit
log ends depends on which response came first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from difflib import unified_diff
from itertools import islice, product
from pathlib import Path
from typing import Any

from benchmarks.runs import ROOT
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox

VARYING = re.compile(r'"(?:time_extracted|read_at)":"[^"]*"|(?<="version":)\d{10,}')
MAPS = {
    "audit_events": {"email": None, "who": "md5(str(email))"},
    "deployments": {"__alias__": "services"},
    "deployment_backups": {"__filter__": "type == 'daily'"},
}
CHOICE = {"start_date": "2016-07-01", "deployment_shard": "1/2", "include_connection_strings": True}
CASES: tuple[tuple[list[str], dict[str, Any]], ...] = (
    ([], {}),
    (["--state", "first.json"], {}),
    (["--state", "half.json"], {}),
    (["--catalog", "catalog.json"], {}),
    ([], {"stream_maps": MAPS, "flattening_enabled": True, "flattening_max_depth": 2}),
    ([], {"emit_activate_version_messages": True}),
    ([], CHOICE),
)


def comparable(stdout: str, *, is_ordered: bool) -> list[str]:
    """Return the lines that are the same in every run; is_ordered: one request after the other."""
    *lines, last = VARYING.sub("0", stdout).splitlines()
    return [*(each for each in lines if is_ordered or '{"type":"STATE"' not in each), last]


def compare(before: Path, folder: Path, sandbox: Sandbox) -> bool:
    """Print a line for each case, and what differs; tell whether nothing does."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TAP_COMPOSE")}
    command = [sys.executable, "-m", "tap_compose", "--config", "config.json"]

    def sync(checkout: Path, *arguments: str, **settings: Any) -> str:
        settings |= {"api_url": sandbox.url, "api_token": sandbox.token}
        (folder / "config.json").write_text(json.dumps(settings))
        env = {
            **clean,
            "PYTHONPATH": str(checkout),
            "LOGLEVEL": "ERROR",
        }  # before the installed one
        return subprocess.check_output([*command, *arguments], env=env, cwd=folder, text=True)

    for name, settings in (("first.json", {}), ("half.json", {"end_date": "2016-07-01"})):
        state = json.loads(sync(before, **settings).splitlines()[-1])["value"]
        (folder / name).write_text(json.dumps(state))
    catalog = json.loads(sync(before, "--discover"))
    for number, stream in enumerate(catalog["streams"], start=1):
        for column, entry in enumerate(stream["metadata"]):
            entry["metadata"]["selected"] = bool(column % 3 if entry["breadcrumb"] else number % 5)
    (folder / "catalog.json").write_text(json.dumps(catalog))
    is_same = True
    for at_once, (arguments, more) in product((1, 8, 64), CASES):
        settings = {**more, "max_concurrency": at_once}
        outputs = (sync(checkout, *arguments, **settings) for checkout in (before, ROOT))
        old, new = (comparable(each, is_ordered=at_once == 1) for each in outputs)
        print(*arguments, *settings, at_once, f"{len(old):,} and {len(new):,} lines", flush=True)
        for line in islice(unified_diff(old, new, n=0), 20):
            is_same = False
            print(line[:200])
    return is_same


def main() -> None:
    """Compare this checkout with the revision that the argument names."""
    parser = argparse.ArgumentParser(description="Compare the output of two revisions of the tap.")
    parser.add_argument("revision", help="the one to compare this checkout with, such as main")
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as name, Sandbox(Size(20, 5000, seed=1)) as sandbox:
        before = Path(name).resolve() / "before"
        add = [*git, "add", "--quiet", "--detach", str(before), parser.parse_args().revision]
        subprocess.run(add, check=True)
        try:
            is_same = compare(before, Path(name), sandbox)
        finally:
            subprocess.run([*git, "remove", "--force", str(before)], check=True)
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
