"""What links, comments and docs/architecture.md point to exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [
    ROOT / "pyproject.toml",
    *(
        path
        for folder in ("tap_compose", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "test_links.py"
    ),
]


def _headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _citations(text: str) -> list[tuple[str, str]]:
    """Pages that a text cites by ``docs/PAGE.md, Heading``, each with the text behind the comma."""
    joined = re.sub(r"\s*\n[\s#]*", " ", text)
    return re.findall(r"(?=\b(docs/[\w-]+\.md), ([A-Z][^\n]{0,100}))", joined)


def _is_heading(page: str, cited: str) -> bool:
    path = ROOT / page
    return path.exists() and any(
        re.match(rf"{re.escape(heading)}(?!\w| \w)", cited) for heading in _headings(path)
    )


def test_links_lead_to_files_and_headings() -> None:
    for page in PAGES:
        for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            path = page.parent / link if link else page
            assert path.exists(), f"{page.name}: {link}"
            anchors = [_anchor(each) for each in _headings(path)] if anchor else [anchor]
            assert anchor in anchors, f"{page.name}: {link}#{anchor}"


def test_sections_that_code_cites_exist() -> None:
    cited = [(path.name, *each) for path in SOURCES for each in _citations(path.read_text())]
    assert len(cited) > 10
    assert [each for each in cited if not _is_heading(*each[1:])] == []


def test_a_citation_is_found_across_lines_and_held_to_whole_headings() -> None:
    text = "# as (docs/compose-api.md,\n    # Audit events; docs/architecture.md, Layer)."
    (good, wrong) = _citations(text)
    assert (good[0], wrong[0]) == ("docs/compose-api.md", "docs/architecture.md")
    assert _is_heading(*good)
    assert not _is_heading(*wrong)
    assert not _is_heading("docs/compose-api.md", "Paging of events")


def test_files_and_names_in_the_page_on_architecture_exist() -> None:
    quoted = set(re.findall(r"`(\w[\w/.]*)`", (ROOT / "docs" / "architecture.md").read_text()))
    files = {each for each in quoted if "/" in each or each.endswith(".py")}
    paths = [*SOURCES, *PAGES, ROOT / "tests/test_links.py", ROOT / "benchmarks/RESULTS.md"]
    known = "\n".join(
        f"/{path.relative_to(ROOT)}\n/{path.parent.relative_to(ROOT)}/" for path in paths
    )
    assert [
        each for each in files if not re.search(rf"/{re.escape(each)}$", known, re.MULTILINE)
    ] == []
    code = "\n".join(path.read_text() for path in SOURCES)
    assert [each for each in quoted - files if not re.search(rf"\b{each}\b", code)] == []
