"""The programs of Prometheus, from the PATH or the cache."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from sandbox.debian import find_program
from sandbox.programs import PROMTOOL

Promtool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Run promtool with arguments, and text for its standard input."""
    program = find_program(PROMTOOL)

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program.path, *arguments], input=text, capture_output=True, text=True, check=False, timeout=120
        )

    return run


def process_metrics() -> set[str]:
    """Return the names of what a process tells of itself."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return set(re.findall(r"^(process_\w+) ", generate_latest(registry).decode(), re.MULTILINE))
