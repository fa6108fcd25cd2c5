"""Running the tap into a real target, and an account that changes from load to load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
from psycopg.sql import SQL, Identifier
from typing_extensions import override

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.events import EventLog
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support import ROOT
from tests.support.tap_runs import config_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tap_compose.sandbox.data import Body
    from tap_compose.sandbox.faults import Fault

ENVIRONMENTS = ROOT / ".venvs"


def documented(target: str, block: int = 0) -> dict[str, Any]:
    """A JSON block of a target's section of docs/targets.md."""
    section = (ROOT / "docs" / "targets.md").read_text().split(f"\n## {target}\n")[1]
    blocks = re.findall(r"```json\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    config: dict[str, Any] = json.loads(blocks[block])
    return config


def in_tokyo(database: str) -> None:
    """Give a database a time zone in which times are shifted if a session has none."""
    with psycopg.connect(database, autocommit=True) as connection:
        name = Identifier(connection.info.dbname)
        connection.execute(SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name))


def settings_for_duckdb() -> dict[str, Any]:
    """The tap's settings that docs/targets.md names for target-duckdb."""
    settings: dict[str, Any] = json.loads((ROOT / "examples" / "target-duckdb.json").read_text())
    return settings


def without_ends(billables: list[Body]) -> list[Body]:
    """Billables of which those that another one replaces have no end, as the API may have it."""
    replaced = {each["replaces_id"] for each in billables}
    for each in billables:
        if each["identifier"] in replaced:
            each["end_at"] = "9999-12-31T23:59:59.999Z"
    return billables


NOTES = 'It\'s "quoted", with a comma;\ta tab\r\nand a second line \\ ü 🐘 NULL'


class ChangingAccount(Account):
    """An account before, with news, and with a deployment gone.

    It holds what targets may stumble over: long amounts, quotes, line breaks, nested data.

    Args:
        load: 0 for the account as it was, 1 with news, 2 with one deployment less.
    """

    free_form: ClassVar[Mapping[str, Any]] = {
        "units": "2",
        "text": 'it\'s "quoted", with a comma\nand a second line \\ ü 🐘',
        "nested": {"list": [1, 2.5, None, True, {"empty": {}}], "null": None},
    }

    def __init__(self, load: int) -> None:
        super().__init__(Size(deployments=4, events=150, recipes=4, seed=11))
        self._load = load
        self.gone = self.deployment_ids[-1]
        self.events = _Events(
            self.id, self.deployments, events=self.size.events, seed=self.size.seed
        )
        self.events.first_data = self.free_form
        for hour in range(load):
            self.events.add(NOW + timedelta(hours=hour + 1))
        if load == 2:
            self.deployment_ids.pop()

    @property
    @override
    def leaving(self) -> None:
        """None: what may not be read would keep the deletes of its streams back."""

    @property
    @override
    def ill(self) -> str:
        return self.gone

    @override
    def summary(self, deployment_id: str) -> Body:
        changed = {0: {"notes": NOTES}, 1: {"notes": f"As of load {self._load}"}}
        place = self.deployment_ids.index(deployment_id)
        return {**super().summary(deployment_id), **changed.get(place, {})}

    @override
    def billables(self) -> list[Body]:
        billables = super().billables()
        billables[0] |= {"amount": "12345678901234567.89", "units": "0.10"}
        billables[1] |= {"amount": None}
        return billables

    @override
    def resource(self, deployment_id: str, name: str) -> Body:
        body = super().resource(deployment_id, name)
        if self._load and name == "recipes" and deployment_id == self.deployment_ids[0]:
            recipes = body["_embedded"]["recipes"]
            moment = f"{NOW + timedelta(hours=self._load):%Y-%m-%dT%H:%M:%SZ}"
            recipes[1] |= {"status": "changed", "updated_at": moment}
            new = {"id": f"{self._load:024x}", "parent_id": None, "updated_at": moment}
            recipes.append({**recipes[2], **new})
        return body


class _Events(EventLog):
    first_data: Mapping[str, Any]

    @override
    def event_at(self, index: int) -> Body:
        event = super().event_at(index)
        return event if index else {**event, "data": self.first_data}


@dataclass
class Pipe:
    """The tap's command piped into a target's, load after load.

    Attributes:
        target: The target's name, which is also that of its environment.
        config: The target's config.
        folder: Where configs, state and logs are kept.
        settings: Of the tap.
        faults: Of the sandbox.
        state: What the target printed last.
    """

    target: str
    config: dict[str, Any]
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    state: dict[str, Any] | None = None

    def load(self, account: Account) -> None:
        """Load an account, from the state on that the target printed at the load before."""
        with Sandbox(account=account, faults=self.faults) as sandbox:
            arguments = ["--config", self._file("tap", config_for(sandbox, **self.settings))]
            if self.state is not None:
                arguments += ["--state", self._file("state", self.state)]
            statuses = self._run(arguments)
        assert statuses == (0, 0), (self.folder / "target.log").read_text()[-3000:]

    def _run(self, arguments: list[str]) -> tuple[int, int]:
        clean = {key: text for key, text in os.environ.items() if not key.startswith("TAP_")}
        program = ENVIRONMENTS / self.target / "bin" / self.target
        with (
            (self.folder / "tap.log").open("wb") as tap_log,
            (self.folder / "target.log").open("wb") as target_log,
            subprocess.Popen(
                [sys.executable, "-m", "tap_compose", *arguments],
                cwd=ENVIRONMENTS.parent,
                env=clean,
                stdout=subprocess.PIPE,
                stderr=tap_log,
            ) as tap,
        ):
            target = subprocess.run(
                [program, "--config", self._file("target", self.config)],
                cwd=self.folder,
                env=clean,
                stdin=tap.stdout,
                stdout=subprocess.PIPE,
                stderr=target_log,
                check=False,
                timeout=120,
            )
            assert tap.stdout is not None
            tap.stdout.close()  # so that the tap notices a target that has ended
        if target.stdout:
            self.state = json.loads(target.stdout.splitlines()[-1])
        return tap.returncode, target.returncode

    def _file(self, name: str, content: dict[str, Any]) -> str:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)
