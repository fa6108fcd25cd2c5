"""What links point to exists."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def _without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", _without_blocks(page.read_text()), re.MULTILINE)


def _anchors(headings: list[str]) -> list[str]:
    """The anchors that GitHub gives headings: the second of the same name ends with ``-1``."""
    seen: Counter[str] = Counter()
    anchors = []
    for heading in headings:
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        anchors.append(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def _links(text: str) -> list[str]:
    """The links of a page, those in code left out."""
    prose = re.sub(r"`[^`]*`", "", _without_blocks(text))
    forms = (r"\]\(([^)\s]+)[^)]*\)", r"^ *\[[^\]]+\]: +(\S+)", r"""\b(?:href|src)=["']([^"']+)""")
    return [link for form in forms for link in re.findall(form, prose, re.MULTILINE)]


def _problem(page: Path, link: str) -> str | None:
    """Return what is wrong with a link, or None."""
    scheme, _, rest = link.partition(":")
    if scheme in {"http", "https", "mailto"}:
        is_local = re.match(r"//(localhost|127\.|0\.|\[|[^/.]+(?:[:/]|$))", rest)
        return "leads to this machine" if is_local else None
    name, _, anchor = link.partition("#")
    path = (page.parent / name).resolve() if name else page
    if rest or name.startswith(("/", "~", "\\")) or not path.is_relative_to(ROOT.resolve()):
        return "leads out of the repository"
    if not path.exists():
        return "there is no such file"
    if anchor and anchor not in _anchors(_headings(path)):
        return "there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    links = {link: _problem(page, link) for link in _links(page.read_text())}
    assert {link: problem for link, problem in links.items() if problem} == {}
