"""Percentiles of the measured freshness of documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Percentiles(NamedTuple):
    """The percentiles of `measured` times, in seconds."""

    measured: int
    p50: float
    p99: float
    maximum: float


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """Return the percentiles by nearest rank: each is a value that was measured. None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[max(math.ceil(share * len(ordered)), 1) - 1]

    return Percentiles(len(ordered), rank(0.50), rank(0.99), ordered[-1])


def spell(seconds: float) -> str:
    """Return a time for people: `85 ms`, `1.4 s`, `12 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
