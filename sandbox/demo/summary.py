"""The results, short enough for a README."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sandbox.compare import Comparison
from sandbox.demo.freshness import Percentiles, spell


@dataclass(slots=True)
class Outage:
    """An outage: its length, and the time to catch up afterwards, in seconds."""

    gone: float
    caught_up: float


@dataclass(slots=True)
class Summary:
    """The results of one demo. Times are in seconds.

    `cassandra` is its version, `search` the search engine with its version, such as `OpenSearch 2.19.5`.
    """

    cassandra: str
    search: str
    changes: int = 0
    renamed: int = 0
    failed: int = 0
    seconds: float = 0.0
    undisturbed: Percentiles | None = None
    all: Percentiles | None = None
    daemon: Outage | None = None
    outage: Outage | None = None
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether everything was compared and is equal."""
        return bool(self.comparisons) and all(comparison.is_equal for comparison in self.comparisons)

    def lines(self) -> list[str]:
        """Return the text."""
        rows = [
            ("servers", f"Cassandra {self.cassandra}, {self.search}, {os.cpu_count()} cores"),
            ("changes written", self._written()),
            ("renamed", f"{self.renamed} organisations, shown in the documents of their users"),
        ]
        if self.undisturbed is not None:
            rows.append(("freshness", f"{_times(self.undisturbed)}, undisturbed"))
        if self.all is not None:
            rows.append(("", f"{_times(self.all)}, outages and warm-up included"))
        if self.daemon is not None:
            rows.append(("daemon kill -9", f"caught up {_caught_up(self.daemon)} its restart"))
        if self.outage is not None:
            engine = self.search.partition(" ")[0]
            rows.append((f"{engine} down", f"caught up {_caught_up(self.outage)} its return"))
        told = [f"{title:<20}{text}".rstrip() for title, text in rows]
        for comparison in self.comparisons:
            first, *rest = str(comparison).splitlines()
            told += [f"{'compared':<20}{first}", *rest]
        return told

    def _written(self) -> str:
        rate = self.changes / self.seconds if self.seconds else 0.0
        failed = f", {self.failed} requests not acknowledged" if self.failed else ""
        return f"{self.changes:,} in {self.seconds:.0f} s, {rate:.0f} a second{failed}"


def _times(times: Percentiles) -> str:
    shown = f"p50 {spell(times.p50)}, p99 {spell(times.p99)}, max {spell(times.maximum)}"
    return f"{shown} of {times.measured} probes"


def _caught_up(outage: Outage) -> str:
    return f"{spell(outage.caught_up)} after {spell(outage.gone)} without it, counted from"
