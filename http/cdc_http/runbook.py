"""`docs/runbook.md` as a page of the daemon: readable without access to the internet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_HERE = Path(__file__).parent
_HEAD = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Runbook · cdc-daemon</title>
  <link rel="icon" href="static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="static/page.css">
</head>
<body class="runbook">
<main>
<p><a href="./">Status page</a></p>
"""
_FOOT = "</main>\n</body>\n</html>\n"


@cache
def runbook_page() -> bytes:
    """Return the runbook as HTML; each heading has the anchor that GitHub gives it.

    The text is inside the package when installed, in `docs` in a checkout.
    """
    file = _HERE / "runbook.md"
    text = (file if file.exists() else _HERE.parents[1] / "docs" / "runbook.md").read_text(encoding="utf-8")
    # "js-default" disables raw HTML: only Markdown in the text becomes markup.
    markdown = MarkdownIt("js-default", {"linkify": False})
    tokens = markdown.parse(text)
    _add_anchors(tokens)
    for token in tokens:
        if token.children is not None:
            token.children = _without_links_to_files(token.children)
    body: str = markdown.renderer.render(tokens, markdown.options, {})
    return (_HEAD + body + _FOOT).encode()


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _add_anchors(tokens: Sequence[Token]) -> None:
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor_of(inline.content))
            opening.attrSet("tabindex", "-1")


def _without_links_to_files(tokens: Sequence[Token]) -> list[Token]:
    """Return inline tokens with links to other files of the repository, which are not served, as plain text."""
    kept, inside = [], False
    for token in tokens:
        if token.type == "link_open" and not str(token.attrGet("href")).startswith(("#", "https:")):
            inside = True
        elif token.type == "link_close" and inside:
            inside = False
        else:
            kept.append(token)
    return kept
