"""How the tests are laid out: helpers are in modules of their own, and the folders are those of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
TESTS = CHECKOUT / "tests"
OTHERS = {"demo", "http", "monitoring", "observe", "sandbox"}
"""Folders of unit tests for code outside `cdc_daemon`."""


def imported(file: Path) -> Iterator[str]:
    """Return each module that a file imports, and each name that it imports from a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def test_no_test_module_is_imported() -> None:
    modules = {".".join(file.relative_to(CHECKOUT).with_suffix("").parts) for file in TESTS.rglob("test_*.py")}
    assert modules
    found = [
        f"{file.relative_to(CHECKOUT)}: {name}"
        for file in sorted(TESTS.rglob("*.py"))
        for name in imported(file)
        if name in modules or name.rpartition(".")[0] in modules
    ]
    assert found == []


def test_each_folder_of_unit_tests_is_a_folder_or_a_module_of_the_code() -> None:
    folders = {file.parent.relative_to(TESTS / "unit") for file in (TESTS / "unit").rglob("test_*.py")}
    assert folders
    inner = {CHECKOUT / "cdc_daemon" / folder for folder in folders if folder.parts[0] not in OTHERS}
    assert [str(place) for place in sorted(inner) if not place.is_dir() and not place.with_suffix(".py").exists()] == []
