"""Each required package is imported by the code, or has a reason; each imported package is required."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.syntax import parse_file

CHECKOUT = Path(__file__).parents[3]
OWN = {"cdc_daemon", "cdc_http"}
NOT_IMPORTED = {
    "aiohttp": "elastic_transport uses it",
    "python-multipart": "starlette uses it for forms",
    "tzdata": "zoneinfo reads it where the system has no time zones",
}
COMPANIONS = {"pydantic-core": "pydantic", "yarl": "aiohttp"}
"""Packages that are parts of the interface of a required one."""


def imported() -> set[str]:
    """Return the distributions of all modules that the code imports."""
    names = set()
    for folder in ("cdc_daemon", "http"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.walk(parse_file(file)):
                if isinstance(node, ast.Import):
                    names |= {each.name.partition(".")[0] for each in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    return names - OWN - sys.stdlib_module_names


def distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {canonical(known[module][0]) for module in modules if module in known}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(*lists: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=;\[ !~]", each)[0]) for some in lists for each in some}


def test_every_requirement_is_used_and_everything_used_is_required() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    base = required(project["dependencies"])
    used = distributions(imported())
    extras = required(*project["optional-dependencies"].values()) | {"opentelemetry-api", "cython"}
    assert base - used == set(NOT_IMPORTED) - used
    assert set(NOT_IMPORTED) <= base
    assert {COMPANIONS.get(each, each) for each in used} - base - extras == set()
