"""How the tests are laid out: helpers in modules of their own, folders as in the code, and a check in each test."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.syntax import parse_file

CHECKOUT = Path(__file__).parents[3]
TESTS = CHECKOUT / "tests"
OTHERS = {"bench", "demo", "http", "monitoring", "observe", "reference", "release", "sandbox"}
"""Folders of unit tests for code outside `cdc_daemon`."""

CHECKS = {"raises", "warns", "timeout", "wait_for", "validate", "suppress", "given", "check"}
"""What fails a test, or limits what it may raise, besides `assert`."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def imported(file: Path) -> Iterator[str]:
    """Return each module that a file imports, and each name that it imports from a module."""
    for node in ast.walk(parse_file(file)):
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


def checks(function: Function) -> bool:
    """Return whether a function asserts something itself."""
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and last_name(node.func) in CHECKS)
        for node in ast.walk(function)
    )


def last_name(function: ast.expr) -> str:
    """Return the last name of `a.b.c`, or an empty text for any other expression."""
    match function:
        case ast.Attribute():
            return function.attr
        case ast.Name():
            return function.id
        case _:
            return ""


def test_each_test_checks_something_itself_or_in_a_helper() -> None:
    functions: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    checking: set[str] = set()
    tests: dict[str, Function] = {}
    for file in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(parse_file(file)):
            if isinstance(node, Function):
                functions[node.name].append(called(node))
                if checks(node):
                    checking.add(node.name)
                if file.name.startswith("test_") and node.name.startswith("test_"):
                    tests[f"{file.relative_to(CHECKOUT)}: {node.name}"] = node
    while True:  # helpers of helpers
        more = {name for name, found in functions.items() if any(each & checking for each in found)} - checking
        if not more:
            break
        checking |= more
    assert tests
    assert [name for name, test in tests.items() if test.name not in checking] == []


def called(function: Function) -> frozenset[str]:
    """Return the names of the functions and methods that a function calls, or hands to another."""
    return frozenset(last_name(node) for node in ast.walk(function) if isinstance(node, ast.Name | ast.Attribute))
