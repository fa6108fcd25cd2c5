"""What links point to exists."""

from __future__ import annotations

import re
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


LINKS = re.compile(
    r"""\]\(([^)\s]+)|^ *\[[^\]]+\]: +(\S+)|\b(?:href|src)=["']([^"']+)""", re.MULTILINE
)


def _prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives headings; no link leads to the second of two equal ones."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def _leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link leads to a website, or to a file and heading of the repository."""
    if link.startswith(("http://", "https://", "mailto:")):
        return not re.match(r"https?://(localhost|127\.|0\.)", link)
    name, _, anchor = link.partition("#")
    path = (page.parent / name).resolve() if name else page
    is_inside = path.is_relative_to(ROOT.resolve()) and path.exists()
    return is_inside and (not anchor or anchor in _anchors(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    found = LINKS.findall(re.sub(r"`[^`]*`", "", _prose(page)))
    links = [link for forms in found for link in forms if link]
    assert [link for link in links if not _leads_somewhere(page, link)] == []
