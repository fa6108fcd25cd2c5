"""examples/load.sh: state, exit status and the end of the screen, whatever the target does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support import ROOT
from tests.support.tap_runs import catalog_of, config_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.slow

TARGET = f"""#!{sys.executable}
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "STATE":
        print(json.dumps(message["value"]), flush=True)
"""
TALKATIVE = "#!/bin/sh\ncat > /dev/null\nseq -f 'INSERT %g' 12 >&2\n"
ONE_STATE = "#!/bin/sh\necho '{\"bookmarks\": {}}'\nprintf '{\"bookm'\ncat > /dev/null\nexit 3\n"


@dataclass(frozen=True)
class Load:
    """A folder to load from, and a sandbox for its account."""

    folder: Path
    sandbox: Sandbox

    def run(self, script: str = TARGET, **options: Any) -> subprocess.CompletedProcess[str]:
        """Load, and wait until it ends."""
        with self.started(script, **options) as process:
            stdout, stderr = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def started(
        self,
        script: str = TARGET,
        *,
        name: str = "target",
        before: Sequence[str] = (),
        folder: str | None = None,
        target: str | None = None,
        **settings: Any,
    ) -> subprocess.Popen[str]:
        """Start to load with this script for a target of this name, in a process group."""
        (self.folder / "config.json").write_text(json.dumps(config_for(self.sandbox, **settings)))
        program = self.folder / name
        program.write_text(script)
        program.chmod(0o755)
        return subprocess.Popen(
            [*before, ROOT / "examples" / "load.sh", folder or self.folder, target or program],
            cwd="/",
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def state(self) -> Path:
        return self.folder / "state.json"


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    (tmp_path / "target.json").write_text("{}")
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of("audit_events")))
    with Sandbox(account=Account(Size(deployments=2, events=300, recipes=2))) as sandbox:
        yield Load(tmp_path, sandbox)


def test_a_run_resumes_where_the_last_one_stopped(load: Load) -> None:
    first = load.run()
    assert (first.returncode, first.stdout) == (0, "")
    assert "300 rows" in first.stderr
    assert load.state.stat().st_mode & 0o777 == 0o600
    before = load.state.read_text()
    load.sandbox.account.events.add(NOW + timedelta(hours=1))
    load.sandbox.log.clear()
    second = load.run()
    assert second.returncode == 0
    assert {path.split("?")[0] for path in load.sandbox.log.paths} == {"/audit_events"}
    assert len(load.sandbox.log.paths) == 2  # the second tells a short page from the last one
    assert load.state.read_text() != before


def test_a_failed_run_keeps_the_last_complete_state(load: Load) -> None:
    assert load.run().returncode == 0
    before = load.state.read_text()
    assert load.run(api_token="another-token").returncode == 1
    full = load.run("#!/bin/sh\necho the disk is full >&2\nexit 3\n")
    assert full.returncode in {1, 3}  # the tap may be through before it notices
    assert "the disk is full" in full.stderr
    assert load.run("#!/no/such/program\n").returncode not in {0, 75}
    assert load.state.read_text() == before
    assert load.run(ONE_STATE).returncode == 3
    assert load.state.read_text() == '{"bookmarks": {}}\n'


@pytest.mark.parametrize("status", [0, 3])
def test_the_verdict_is_last_and_the_log_of_the_target_in_a_file(status: int, load: Load) -> None:
    """If the target failed, the end of its log is shown too."""
    result = load.run(f"{TALKATIVE}exit {status}\n")
    assert result.returncode == status
    inserts = [f"INSERT {number}" for number in range(1, 13)]
    log = load.folder / "target.log"
    assert log.read_text().splitlines() == inserts
    assert log.stat().st_mode & 0o777 == 0o600
    lines = result.stderr.splitlines()
    assert [line for line in lines if "INSERT" in line] == (inserts[2:] if status else [])
    failed = f"target failed with status 3: see above, and {log}"
    assert (failed if status else "done: 300 rows from 1 stream") in lines[-1]


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://127.0.0.1:9/2016-07", "target"), (None, "target"), ("sandbox", "target-other")],
)
def test_the_state_of_another_api_or_target_is_refused(
    load: Load, url: str | None, name: str
) -> None:
    here = load.sandbox.url
    assert load.run().returncode == 0
    before = load.state.read_text()
    load.sandbox.log.clear()
    other = here if url == "sandbox" else url
    again = load.run(name=name, api_url=other)
    assert again.returncode == 2
    assert again.stderr == (
        f"nothing loaded from {other or 'the default api_url'} into {name}: "
        f"{load.state} is of a load from {here} into target; "
        "use another folder, or delete state.json to read everything again\n"
    )
    assert load.state.read_text() == before
    assert load.sandbox.log.paths == []
    assert load.run().returncode == 0  # what is noted is still the state's

    load.state.unlink()
    assert "300 rows" in load.run(name="target-other").stderr


@pytest.mark.parametrize(
    ("to", "how", "status"),
    [(-1, "SIGINT", 130), (1, "SIGTERM", 143), (-1, "SIGHUP", 129)],
    ids=["Ctrl-C", "the script alone", "a terminal that closes"],
)
def test_a_signal_ends_the_tap_and_keeps_what_it_has_read(
    to: int, how: str, status: int, load: Load
) -> None:
    store = load.folder / "stored"
    target = f"{TARGET}    else:\n        print(line, end='', file=open({str(store)!r}, 'a'))\n"
    account = Account(Size(deployments=2, events=9000, recipes=2))
    with Sandbox(account=account, latency=0.3) as slow:
        slow_load = Load(load.folder, slow)
        with slow_load.started(target, api_url=slow.url) as process:
            while not store.exists() or '"RECORD"' not in store.read_text():
                assert process.poll() is None
                time.sleep(0.1)
            os.kill(to * process.pid, getattr(signal, how))  # a negative one is the group
            stdout, stderr = process.communicate(timeout=100)
        assert (process.returncode, stdout) == (status, ""), stderr
        last = stderr.splitlines()[-1]
        assert f"stopped early: received {how}; " in last
        assert (load.folder / "target.log").read_text() == ""
        assert "audit_events" in load.state.read_text()
        assert not (load.folder / "load.pipe").exists()
        before = _events(store)
        assert 0 < len(before) < len(account.events)

        slow.log.clear()
        assert slow_load.run(target).returncode == 0
        assert {*_events(store)} == {
            account.events.id_at(each) for each in range(len(account.events))
        }


def _events(store: Path) -> list[str]:
    messages = [json.loads(line) for line in store.read_text().splitlines()]
    return [each["record"]["id"] for each in messages if each["type"] == "RECORD"]


@pytest.mark.parametrize(
    ("before", "status", "message"),
    [
        ('rm config.json; "$@"', 2, "config.json cannot be read; put the settings of the config"),
        ('rm target.json; "$@"', 2, "target.json cannot be read; put the settings of the target"),
        ('flock load.lock "$@"', 75, "another run holds "),
        ('cp /bin/bash .; PATH=.; "$@"', 2, "flock is not installed"),
    ],
    ids=["no config", "no target", "another run", "no flock"],
)
def test_nothing_is_loaded(before: str, status: int, message: str, load: Load) -> None:
    result = load.run(before=("bash", "-c", f"cd {load.folder}; {before}", "bash"))
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith("nothing loaded: ")
    assert message in result.stderr
    assert load.sandbox.log.paths == []
    assert not (load.folder / "load.txt").exists()


def test_folder_and_target_are_those_named_and_home_may_be_unset(load: Load) -> None:
    other = load.folder / "other" / load.folder.name
    other.mkdir(parents=True)
    environment = ("env", "-u", "HOME", "-C", str(load.folder.parent), f"CDPATH={other.parent}")
    name = load.folder.name
    result = load.run(before=environment, folder=name, target=f"{name}/target")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert load.state.exists()


def test_wrong_arguments() -> None:
    script = ROOT / "examples" / "load.sh"
    result = subprocess.run([script, "."], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == f"usage: {script} FOLDER TARGET\n"
