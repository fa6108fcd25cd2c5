"""The benchmarks fetch what the tap fetches, from an API that keeps to the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.alone import measured
from benchmarks.api import Api, even, serving
from benchmarks.compare import CASES, plan
from benchmarks.runs import ROOT, Measure, environment, run


def test_the_script_writes_as_many_rows_as_the_tap(tmp_path: Any) -> None:
    for case, stream, api in (
        (CASES["events"], "audit_events", Api(even(350))),
        (CASES["body"], "deployment_recipes", Api(deployments=3, recipes=4)),
    ):
        ours, script = measured(api, stream, pause=0.1), Measure()
        (tmp_path / "work.json").write_text(json.dumps(plan(case, api)))
        with serving(api):
            env = environment(api, max_concurrency=4)
            run([sys.executable, "benchmarks/script.py", tmp_path / "work.json"], env, script)
        assert ours.messages["RECORD"] == script.messages["RECORD"] == (len(api.events) or 12)


def test_the_table_is_printed_for_what_is_chosen() -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--size", "0.001", "reading"]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert printed.splitlines()[1] == "# Benchmarks"
    assert "| audit_events, 100 rows | " in printed
