"""docs/compatibility.md names every server that the sandbox can start, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox.artifacts import CASSANDRA_VERSIONS
from sandbox.engines import ENGINES

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = (CHECKOUT / "docs" / "compatibility.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    section = PAGE.split(f"## {heading}\n", 1)[1]
    lines = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_engine_has_a_row_and_each_cassandra_a_column() -> None:
    head, _, *rows = _rows("Search engines and databases")
    assert {row[0].partition(" (")[0] for row in rows} == {engine.title for engine in ENGINES}
    assert [name.removeprefix("Cassandra ") for name in head[2:]] == list(CASSANDRA_VERSIONS.values())
    assert {len(row) for row in rows} == {len(head)}


def test_each_test_that_it_names_exists() -> None:
    named = re.findall(r"`((?:tests/|test_)[\w/.]+)`", PAGE)
    files = {path.name: path for path in (CHECKOUT / "tests").rglob("test_*.py")}
    functions = {name for path in files.values() for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))}
    assert len(named) > 10
    for name in named:
        assert (CHECKOUT / name).exists() or name in files or name in functions, name


def test_the_marker_that_it_names_is_used() -> None:
    assert "`other_engines`" in PAGE
    marked = [
        path
        for path in (CHECKOUT / "tests" / "integration").rglob("*.py")
        if "mark.other_engines" in path.read_text("utf-8")
    ]
    assert {path.parent.name for path in marked} >= {"daemon", "documents", "tablejobs"}
