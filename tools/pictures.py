"""Draw the pictures of README: the progress of a run, and the report.

``make docs`` draws the first from recorded figures. ``python -m tools.pictures`` records the
progress again, and after ``make answers`` takes docs/answers.png in Chromium.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console

from tap_compose.progress import drawing, progress_of
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.tap import TapCompose
from tools.browser import browser

if TYPE_CHECKING:
    from rich.console import RenderableType

RECORDED = Path(__file__).parent / "progress_snapshot.json"
SNAPSHOT: list[str] = json.loads(RECORDED.read_text())
"""The progress of a real run, which ``python -m tools.pictures`` recorded."""

_DEPLOYMENTS, _LATENCY = 1000, 0.05


def record() -> None:
    """Run the tap against the sandbox, and record its progress in the middle of the recipes."""

    def watch() -> None:
        while not is_over.wait(0.25):
            if tap.run.report.of("deployment_recipes").parts_done > _DEPLOYMENTS / 3:
                seen = progress_of(tap.run, list(tap.streams.values()), tap.message_writer)
                RECORDED.write_text(json.dumps(seen, indent=2) + "\n")
                return

    is_over = Event()
    with (
        Sandbox(Size(deployments=_DEPLOYMENTS), latency=_LATENCY) as sandbox,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        tap = TapCompose(config={"api_url": sandbox.url, "api_token": sandbox.token})
        watcher = Thread(target=watch)
        watcher.start()
        tap.sync_and_report()
        is_over.set()
        watcher.join()


def progress() -> str:
    """Return the picture of the progress of a run."""
    command = f"--deployments {_DEPLOYMENTS} --latency {_LATENCY} -- tap-compose --config ENV"
    return _picture(f"compose-sandbox run {command} > messages.jsonl", drawing(SNAPSHOT))


def _picture(title: str, content: RenderableType) -> str:
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True)
    console.print(content)
    console.print()  # rich cuts off the bottom of the last line
    svg = console.export_svg(title=title, unique_id="tap-compose")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fetched from elsewhere
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def answers(root: Path) -> None:
    """Take the picture of the top of the report that ``make answers`` has written."""
    with browser() as page:
        page.open(root / "demo-output" / "answers.html", width=1000)
        page.picture(root / "docs" / "answers.png", width=1000, height=760)


if __name__ == "__main__":
    record()
    answers(Path(__file__).parent.parent)
