"""The plan of a run: which fault happens when, chosen by a seed. The same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SERVERS = ("daemon", "cassandra", "search")
PROXIED = ("cassandra", "search")
WAYS = ("latency", "reset", "truncate", "hole", "late", "foreign")
"""What the proxy does to connections: see `proxy`."""

INDEX_TROUBLES = (
    "closed",
    "write_blocked",
    "disk_full",
    "deleted",
    "alias_missing",
    "alias_ambiguous",
    "alias_moved",
    "mapping_conflict",
)
SEGMENT_TROUBLES = ("damaged", "missing", "repeated")
STATE_TROUBLES = ("older", "disk_full")
SCHEMA_CHANGES = ("truncate", "add_column", "recreate", "rekey")

KINDS: tuple[str, ...] = (
    *(f"{server}.{act}" for server in SERVERS for act in ("kill", "pause", "restart")),
    *(f"network.{server}.{way}" for server in PROXIED for way in WAYS),
    *(f"index.{trouble}" for trouble in INDEX_TROUBLES),
    *(f"segment.{trouble}" for trouble in SEGMENT_TROUBLES),
    *(f"state.{trouble}" for trouble in STATE_TROUBLES),
    *(f"schema.{change}" for change in SCHEMA_CHANGES),
)
"""Every kind of fault, and every change of the schema, which the plan schedules with them."""

LASTS = (1.0, 8.0)
"""The least and the most seconds for which a fault lasts."""

REST = (3.0, 9.0)
"""The least and the most seconds between the end of a fault and the next one."""

OVERLAP = 0.35
"""The share of faults that begin while the one before still lasts."""

STEADY = 10.0
"""Seconds of load before the first fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it begins `at` seconds after the load, and lasts for `seconds`.

    `choice` is a number below one, by which the fault chooses its table, its bytes and so on.
    """

    number: int
    at: float
    kind: str
    seconds: float
    choice: float

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def make_plan(seed: int, seconds: float, kinds: Sequence[str] = KINDS) -> tuple[Fault, ...]:
    """Return the faults of a run of so many seconds.

    The kinds come in a random order; none comes a second time before all have come once.
    """
    chance = random.Random(f"plan {seed}")  # noqa: S311 -- a plan, no secret
    return tuple(_faults(chance, seconds, kinds))


def _faults(chance: random.Random, seconds: float, kinds: Sequence[str]) -> Iterator[Fault]:
    at, number = STEADY, 0
    while True:
        for kind in chance.sample(list(kinds), len(kinds)):
            lasts = round(chance.uniform(*LASTS), 1)
            if at + lasts > seconds:
                return
            number += 1
            yield Fault(number, round(at, 1), kind, lasts, round(chance.random(), 6))
            overlaps = chance.random() < OVERLAP
            at += chance.uniform(0.2, 0.8) * lasts if overlaps else lasts + chance.uniform(*REST)
