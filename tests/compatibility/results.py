"""The results of test runs: read from JUnit files, and kept in results.json between runs."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Self
from xml.etree import ElementTree as ET

from sandbox.engines import DEFAULT_ENGINE, ENGINES, find_engine
from tests.compatibility.subjects import CONFORMANCE, DATABASES, SECURITY

FILE = Path(__file__).with_name("results.json")

_ENGINES = {engine.title: engine.title for engine in ENGINES} | {
    f"{engine.name}:{engine.version}": engine.title for engine in ENGINES
}
"""The titles of the engines, by each name that they have in the parameters of tests."""


class Case(NamedTuple):
    """The result of one test: its file, its function, its parameters, whether it passed, and what it observed."""

    file: str
    function: str
    parameters: str
    passed: bool
    observed: tuple[str, ...]


@dataclass
class Results:
    """What is known from all runs.

    `engines` has for each engine and test function whether it passed, and what it observed there. `runs` has for each
    engine and folder of integration tests how many tests passed and failed on it, `databases` for each database.
    """

    engines: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    runs: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    databases: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Return the results of the runs before."""
        return cls(**json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else cls()

    def save(self) -> None:
        """Keep the results."""
        FILE.write_text(json.dumps(self.__dict__, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def add(self, path: Path) -> None:
        """Add a run. It replaces what is known of the same folders, engines and databases."""
        engine, cases = read_run(path)
        functions: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
        folders: defaultdict[str, list[Case]] = defaultdict(list)
        for case in cases:
            of_engine = next((_ENGINES[each] for each in case.parameters.split("-") if each in _ENGINES), None)
            if case.file in (CONFORMANCE, SECURITY) and of_engine is not None:
                functions[of_engine, case.function].append(case)
            elif case.file.startswith("tests/integration/"):
                folders["/".join(case.file.split("/")[2:-1]) or "."].append(case)
        for (title, function), several in functions.items():
            observed = list(dict.fromkeys(each for case in several for each in case.observed))
            secured = several[0].file == SECURITY
            passed = all(case.passed for case in several)
            found = {"passed": passed, "secured": secured, "observed": observed}
            self.engines.setdefault(title, {})[function] = found
        for folder, several in folders.items():
            self.runs.setdefault(engine, {})[folder] = _counts(several)
        for database in DATABASES:
            if several := [case for case in cases if any(matches(case, each) for each in database.tests)]:
                self.databases.setdefault(f"{database.name}, {database.way}", {})[engine] = _counts(several)


def matches(case: Case, pattern: str) -> bool:
    """Return whether a pattern of test ids matches a test."""
    return fnmatchcase(f"{case.file}::{case.function}[{case.parameters}]", pattern)


def read_run(path: Path) -> tuple[str, list[Case]]:
    """Return the engine that a run used, which its suite is named after, and the results of its tests."""
    suite = ET.parse(path).getroot()[0]
    name = suite.get("name", "pytest")
    engine = find_engine(DEFAULT_ENGINE if name == "pytest" else name).title
    return engine, list(_cases(suite))


def _cases(suite: ET.Element) -> Iterator[Case]:
    for each in suite.iter("testcase"):
        found = {child.tag for child in each}
        function, _, rest = each.get("name", "").partition("[")
        if "skipped" in found:
            continue
        observed = tuple(str(item.get("value")) for item in each.iter("property") if item.get("name") == "observed")
        file = re.sub(r"\.", "/", each.get("classname", "")) + ".py"
        yield Case(file, function, rest.removesuffix("]"), not found & {"failure", "error"}, observed)


def _counts(cases: list[Case]) -> list[int]:
    passed = sum(case.passed for case in cases)
    return [passed, len(cases) - passed]


def cell(counts: list[int] | None) -> str:
    """Return how many tests passed and how many failed, for people."""
    if counts is None:
        return "not recorded"
    passed, failed = counts
    return f"{passed} passed" + (f", **{failed} failed**" if failed else "")
