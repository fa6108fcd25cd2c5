"""The sandbox as a command, and how faithful it is to docs/compose-api.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_compose.sandbox.account import Account, Size
from tap_compose.sandbox.deployments import RESOURCES
from tap_compose.sandbox.faults import KINDS
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams import STREAMS

if TYPE_CHECKING:
    from pathlib import Path

SANDBOX = [sys.executable, "-m", "tap_compose.sandbox"]
SHOW = "import os; print(os.environ['TAP_COMPOSE_API_URL'], os.environ['TAP_COMPOSE_API_TOKEN'])"


def _get(sandbox: Sandbox, path: str, token: str | None = None, **params: Any) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.token if token is None else token}"}
    return requests.get(sandbox.url + path, headers=headers, params=params, timeout=60)


def test_run_gives_address_and_token_and_ends_as_the_command_does() -> None:
    process = subprocess.run(
        [*SANDBOX, "run", "--deployments", "2", "--", sys.executable, "-c", f"{SHOW}; exit(7)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 7, process.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/2016-07 sandbox-token-\d+\n", process.stdout)


def test_run_keeps_meltano_from_the_state_of_a_real_account() -> None:
    show = "import os; print(os.environ['MELTANO_RUN_STATE_ID_SUFFIX'])"
    command = [*SANDBOX, "run", "--deployments", "0", "--", sys.executable, "-c", show]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "sandbox\n"


READ = """
import os, requests
token = {"Authorization": f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"}
get = lambda path: requests.get(os.environ["TAP_COMPOSE_API_URL"] + path, headers=token).json()
print(len(get("/accounts")["_embedded"]["accounts"]), "name" in get("/user"))
"""


@pytest.mark.parametrize(("quirks", "has_name"), [("none", True), ("all", False)])
def test_the_command_has_options_for_quirks_and_accounts(quirks: str, has_name: bool) -> None:
    process = subprocess.run(
        [
            *(*SANDBOX, "run", "--quirks", quirks, "--accounts", "3", "--deployments", "1"),
            *("--", sys.executable, "-c", READ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.stdout, process.returncode) == (f"3 {has_name}\n", 0), process.stderr


@pytest.mark.parametrize("name", ["run", "serve", "demo"])
def test_the_help_describes_every_kind_of_fault(name: str) -> None:
    process = subprocess.run([*SANDBOX, name, "--help"], capture_output=True, text=True, check=True)
    described = process.stdout.partition("Kinds of faults:\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in described] == [list(each) for each in KINDS.items()]


def test_a_fault_that_does_not_exist_is_an_error() -> None:
    process = subprocess.run(
        [*SANDBOX, "run", "--faults", "STATUS", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.endswith(
        "Error: Invalid value for '--faults': unknown fault STATUS: use one of "
        f"{', '.join(KINDS)}\n"
    )


def test_run_says_when_there_is_no_such_command() -> None:
    process = subprocess.run(
        [*SANDBOX, "run", "--", "no-such-command"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert process.stderr == "Error: no-such-command: No such file or directory\n"


@pytest.mark.parametrize(
    "command",
    [
        ["tap-compose", "--config", "account.json"],
        ["timeout", "9", "bin/tap-compose", "--config=account.json", "--test"],
        ["sh", "-c", "tap-compose --config 'account.json' | target-jsonl --config ENV"],
        [sys.executable, "-m", "tap_compose", "--config", "account.json"],
    ],
)
def test_run_refuses_a_tap_that_would_not_ask_the_sandbox(command: list[str]) -> None:
    process = subprocess.run(
        [*SANDBOX, "run", "--", *command], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        "Error: tap-compose --config account.json would not ask the sandbox: "
        "only --config ENV reads its URL and token; use that\n"
    )


def test_run_takes_other_settings_of_the_tap_from_a_file(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"start_date": "2018-01-01"}')
    tap = [sys.executable, "-m", "tap_compose", "--config", str(settings), "--config", "ENV"]
    process = subprocess.run(
        [*SANDBOX, "run", "--deployments=1", "--events=1", "--", *tap, "--test"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    count = len(STREAMS)
    verdict = f"the api_token works: {count} of {count} streams can be read\n"
    assert process.stderr.endswith(verdict)


IN_FLIGHT = """
import os, socket, time
from urllib.parse import urlsplit
url = urlsplit(os.environ["TAP_COMPOSE_API_URL"])
for _ in range(8):
    connection = socket.create_connection((url.hostname, url.port))
    connection.sendall(b"GET /2016-07/user HTTP/1.1\\r\\nHost: sandbox\\r\\n\\r\\n")
    connection.detach()  # stays open until the process ends
time.sleep(0.5)
exit(124)
"""


def test_run_ends_quietly_with_requests_in_flight() -> None:
    process = subprocess.run(
        [*SANDBOX, "run", "--latency", "30", "--", sys.executable, "-c", IN_FLIGHT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (124, "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_run_forwards_a_signal(how: signal.Signals) -> None:
    child = "import time; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [*SANDBOX, "run", "--", sys.executable, "-c", child],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(how)
        assert process.wait(60) == 128 + how


SIGNALS_AROUND_A_START = """
import signal, subprocess, sys
from tap_compose.sandbox.cli import main

how = int(sys.argv.pop(1))

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        signal.raise_signal(how)
        super().__init__(*arguments, **options)
        signal.raise_signal(how)

subprocess.Popen = Popen
main()
"""


@pytest.mark.parametrize(
    ("how", "is_terminal", "child", "status"),
    [
        (signal.SIGTERM, False, "import time; time.sleep(600)", 128 + signal.SIGTERM),
        (signal.SIGINT, False, "import time; time.sleep(600)", 128 + signal.SIGINT),
        (signal.SIGINT, True, "exit(7)", 7),  # the terminal sends it to the command too
    ],
)
def test_run_leaves_no_command_behind_that_a_signal_met_at_its_start(
    how: signal.Signals, is_terminal: bool, child: str, status: int
) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    terminal, other_end = pty.openpty()
    process = subprocess.run(
        [
            *(sys.executable, "-c", SIGNALS_AROUND_A_START, str(int(how))),
            *("run", "--deployments", "0", "--", sys.executable, "-c", child),
        ],
        stdin=other_end if is_terminal else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(other_end)
    assert (process.returncode, process.stderr) == (status, "")


BURST = """
import os, requests
token = {"Authorization": f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"}
get = lambda: requests.get(os.environ["TAP_COMPOSE_API_URL"] + "/user", headers=token)
answers = [get() for _ in range(3)]
print(sorted({each.status_code for each in answers}))
print(next((each.text, each.headers["Retry-After"]) for each in answers if not each.ok))
"""


def test_the_command_has_options_for_a_rate() -> None:
    command = [sys.executable, "-c", BURST]
    process = subprocess.run(
        [
            *(*SANDBOX, "run", "--deployments", "1", "--rate", "1", "--retry-after", "7"),
            *("--", *command),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "[200, 429]\n('{\"errors\":\"rate_limit_exceeded\"}', '7')\n"
    process = subprocess.run(
        [*SANDBOX, "run", "--retry-after", "7", "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.endswith("Error: --retry-after: nothing is refused; add --rate\n")


SERVE = ["serve", "--port", "0", "--deployments", "0", "--events", "10", "--seed", "4"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_address_and_token_and_stops_quietly(how: signal.Signals) -> None:
    with subprocess.Popen(
        [*SANDBOX, *SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("TAP_COMPOSE_API_URL=")
        token = process.stdout.readline().strip().removeprefix("TAP_COMPOSE_API_TOKEN=")
        answer = requests.get(
            f"{url}/accounts", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        assert answer.json()["_embedded"]["accounts"][0]["slug"] == "northwind"
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "stopped\n")


SIGINT_BEFORE_EVERY_LINE = """
import signal, sys
import click
from tap_compose.sandbox.cli import main

echo = click.echo

def echo_and_begin(*arguments, **options):
    echo(*arguments, **options)
    sys.settrace(interrupt)
    sys._getframe(1).f_trace = interrupt

def interrupt(frame, *_):
    if "tap_compose" in frame.f_code.co_filename:
        signal.raise_signal(signal.SIGINT)
    return interrupt

click.echo = echo_and_begin
main()
"""


def test_serve_stops_quietly_whatever_line_a_signal_meets() -> None:
    process = subprocess.run(
        [sys.executable, "-c", SIGINT_BEFORE_EVERY_LINE, *SERVE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "stopped\n")
    assert process.stdout.count("TAP_COMPOSE_API_URL=") == 1


SIGINT_WITHIN_AN_IMPORT = """
import signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "uvicorn":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from tap_compose.sandbox.cli import main
main()
"""


def test_a_signal_before_the_sandbox_runs_aborts_without_a_traceback() -> None:
    process = subprocess.run(
        [sys.executable, "-c", SIGINT_WITHIN_AN_IMPORT, *SERVE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (1, "", "Aborted!\n")


def test_the_same_seed_makes_the_same_account() -> None:
    size = Size(deployments=4, events=300, recipes=5, seed=11)
    one, other = Account(size), Account(size)
    assert one.account_level == other.account_level
    for deployment_id in one.deployment_ids:
        for name in RESOURCES:
            assert one.resource(deployment_id, name) == other.resource(deployment_id, name)
    assert [one.events.event_at(each) for each in range(300)] == [
        other.events.event_at(each) for each in range(300)
    ]
    assert Account(Size(seed=12)).id != one.id


def test_a_wrong_token_is_refused_everywhere(sandbox: Sandbox) -> None:
    for path in ("/accounts", "/audit_events", f"/deployments/{sandbox.account.ill}/alerts"):
        answer = _get(sandbox, path, token="wrong")
        assert (answer.status_code, answer.json()) == (401, {"errors": "invalid_token"})


def test_pages_of_audit_events(sandbox: Sandbox) -> None:
    first = _get(sandbox, "/audit_events", limit=100).json()["_embedded"]["audit_events"]
    second = _get(sandbox, "/audit_events", limit=100, cursor=first[-1]["id"])
    second = second.json()["_embedded"]["audit_events"]
    log = sandbox.account.events
    ids = [each["id"] for each in first + second]
    assert ids == [log.id_at(each) for each in range(1499, 1299, -1)]


@pytest.mark.parametrize("inclusive", [True, False])
def test_bounds_of_audit_events(inclusive: bool) -> None:
    with Sandbox(Size(events=300, deployments=0), inclusive_bounds=inclusive) as sandbox:
        times = sandbox.account.events.times
        low, high = times[100], times[150]
        bounds = {
            name: f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at // 1000))}.{at % 1000:03d}Z"
            for name, at in (("newer_than", low), ("older_than", high))
        }
        events = _get(sandbox, "/audit_events", limit=100, **bounds).json()
        if inclusive:
            wanted = [at for at in times if low <= at <= high]
        else:
            wanted = [at for at in times if low < at < high]
        assert len(events["_embedded"]["audit_events"]) == len(wanted)


def test_the_deployment_that_is_leaving_is_listed_and_hardly_readable(sandbox: Sandbox) -> None:
    leaving = sandbox.account.leaving
    listed = _get(sandbox, "/deployments").json()["_embedded"]["deployments"]
    assert leaving in [each["id"] for each in listed]
    statuses = {_get(sandbox, f"/deployments/{leaving}/{each}").status_code for each in RESOURCES}
    assert statuses == {401, 404, 410}
