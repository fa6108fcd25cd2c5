"""The pages use the common words: each of these has a plainer one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tools.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]

INSTEAD = {
    r"anew": "again",
    r"answer(s|ed|ing)?": "response, respond",
    r"beside": "next to, together with",
    r"be it": "whether",
    r"(bears?|bore|borne)": "accept, allow",
    r"complete but for": "done with",
    r"go(es)? on (from|at)": "resume",
    r"(go(es)?|went) out": "load, write",
    r"hence": "so",
    r"of (its|his|her|their|your|our|one's) own": "separate",
    r"reckon(s|ed|ing)?": "estimate",
    r"(say|says|said|saying)": "log, report, print",
    r"slip of the pen": "typo",
    r"(tell|tells|told|telling)(?! you which)": "log, report, show",
    r"(try|tries|tried) again": "retry",
    r"whole": "complete, all of",
    r"without a word": "silently",
    r"what [^.:;]*\bis what": "two sentences",
}
"""What to write instead of each word or phrase; code on the pages may have any word."""


def _prose(text: str) -> str:
    """Return the text without code and the targets of links, with single spaces."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->|[\w/-]+\.md", "", text, flags=re.DOTALL)
    return " ".join(text.split())


ABOUT_ANSWERS = {"docs/answers.md", "examples/dbt/README.md"}
"""Pages about the tables that answer questions: the word is theirs."""


def _found(text: str) -> list[str]:
    """Return every such word with the text around it and what to write."""
    prose = _prose(text)
    return [
        f"…{prose[max(match.start() - 30, 0) : match.end() + 30]}…: write {instead}"
        for pattern, instead in INSTEAD.items()
        for match in re.finditer(rf"\b{pattern}\b", prose, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_the_common_words(page: Path) -> None:
    found = _found(page.read_text())
    if str(page.relative_to(ROOT)) in ABOUT_ANSWERS:
        found = [each for each in found if not each.endswith("respond")]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "Run it anew.",
        "as many as the API bears",
        "The server answers late.",
        "install it beside tap-compose",
        "a run, be it\nfull or not",
        "complete but for 14 skipped",
        "The next run goes on from there.",
        "Everything else went out.",
        "Hence the stream map.",
        "in an environment of its own",
        "The page reckons from figures.",
        "The message says why.",
        "Most often a slip of the pen.",
        "It tells which.",
        "It is tried again.",
        "The whole body is read.",
        "lost without a\nword",
        "What it cannot read is what it reports.",
    ],
)
def test_each_of_them_is_found(text: str) -> None:
    assert len(_found(text)) == 1


def test_code_and_links_may_have_any_word() -> None:
    text = "The log has `nothing answers`:\n```console\n$ tell\n```\nSee [it](whole.md#say)."
    assert _found(text) == []
