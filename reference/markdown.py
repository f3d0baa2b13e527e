"""Pieces of Markdown pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def cell(text: str) -> str:
    """Return a text as the content of a table's cell, on one line."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Return the lines of a table, and an empty line. Without rows there is no table."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if lines:
        columns = list(head)
        yield f"| {' | '.join(columns)} |"
        yield f"| {' | '.join('---' for _ in columns)} |"
        yield from lines
        yield ""
