"""Draws the pictures of README: how a run looks to a person, what the demo and the answers show.

``make docs`` draws the first two. ``make answers && .venv/bin/python -m tests.pictures`` takes the
third one, docs/answers.png, in Chromium.
"""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tap_compose.progress import ProgressSnapshot, drawing
from tap_compose.streams import STREAMS
from tests.browser import browser

if TYPE_CHECKING:
    from rich.console import RenderableType

SNAPSHOT = ProgressSnapshot(
    streams=len(STREAMS),
    streams_done=17,
    stream="deployment_recipes",
    parts=1480,
    parts_done=612,
    reached="",
    rows=2_417_803,
    rows_per_second=9120,
    requests=61_204,
    requests_per_second=148,
    missing="14 skipped",
    waiting_for="GET /deployments/58540ea8a6b0a10011000021/recipes and 7 more, for 2 s",
    seconds=431,
)
"""A run over a large account, somewhere in its middle."""


def progress() -> str:
    """The picture of a run that goes on."""
    return _picture("tap-compose --config config.json | target-postgres", drawing(SNAPSHOT))


def demo(root: Path) -> str:
    """The picture of what ``make demo`` ends with; runs it."""
    target = root / ".venvs" / "target-jsonl" / "bin" / "target-jsonl"
    screen = subprocess.run(
        [Path(sys.executable).parent / "compose-sandbox", "demo", "--target", target],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # These figures differ from run to run, and the picture should not.
    screen = re.sub(r"\d+ requests in \S+ s$", "338 requests in 1.2 s", screen, flags=re.MULTILINE)
    return _picture("make demo", Text(screen.rstrip(), no_wrap=True))


def text_of(picture: str) -> list[str]:
    """The lines of text in a picture."""
    places = re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', picture)
    lines: dict[str, str] = {}
    for place, part in places:
        lines[place] = lines.get(place, "") + part
    return [
        re.sub(r"&#(\d+);", lambda mark: chr(int(mark[1])), line).replace("\xa0", " ").rstrip()
        for line in lines.values()
    ]


def _picture(title: str, content: RenderableType) -> str:
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True)
    console.print(content)
    svg = console.export_svg(title=title, unique_id="tap-compose")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fetched from elsewhere
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def answers(root: Path) -> None:
    """Take the picture of the report that ``make answers`` has written, down to what it costs."""
    with browser() as page:
        page.open(root / "demo-output" / "answers.html", width=1000)
        height = page.run("return document.querySelector('#access').offsetTop")
        page.picture(root / "docs" / "answers.png", width=1000, height=height)


if __name__ == "__main__":
    answers(Path(__file__).parent.parent)
