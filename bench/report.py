"""What a measurement prints: the machine, the versions, and each figure with its median and spread."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figures
from cdc_daemon import __version__
from cdc_daemon.app import event_loop
from cdc_daemon.commitlog.implementation import implementation
from sandbox import Sandbox

_CHECKOUT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one command. `about` says what was measured, on which machine, and with which versions."""

    title: str
    about: Sequence[str]
    rows: Mapping[str, Figures]
    verdict: str = "EQUAL"
    made: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {
            "title": self.title,
            "made": self.made.isoformat(timespec="seconds"),
            "about": list(self.about),
            "verdict": self.verdict,
            "figures": {name: figures.as_dict() for name, figures in self.rows.items()},
        }

    def __str__(self) -> str:
        width = max(map(len, self.rows), default=0)
        lines = [self.title, *self.about, self.verdict]
        lines += [f"{name:{width}}  {figures}" for name, figures in self.rows.items()]
        return "\n".join(lines)

    def print(self, *, as_json: bool) -> None:
        """Print the report for people or for machines."""
        print(json.dumps(self.as_dict(), indent=2) if as_json else self)


def machine() -> str:
    """Describe the machine and the load on it: other programs change every figure."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"machine: {_processor()}, {cores} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start"


def versions(box: Sandbox | None = None) -> str:
    """Describe the programs that take part."""
    parts = [f"cdc-daemon {__version__} {commit()}", f"commit-log reader {implementation()}"]
    parts.append(f"Python {platform.python_version()}, event loop {event_loop.describe()}")
    if box is not None:
        parts.append(f"Cassandra {box.cassandra.version}, {box.elasticsearch.engine.title}")
    return f"versions: {', '.join(parts)}"


def commit() -> str:
    """Return the checkout's commit, with a plus sign if files were changed since."""
    try:
        named = _git("rev-parse", "--short", "HEAD")
        return f"{named}+" if _git("status", "--porcelain", "--untracked-files=no") else named
    except (OSError, subprocess.CalledProcessError):
        return "of an unknown commit"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=_CHECKOUT, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
