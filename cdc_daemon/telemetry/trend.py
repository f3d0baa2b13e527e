"""Recent values in bounded memory: the trend of the last hour, and quantiles of a histogram over the last minute."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from prometheus_client import Histogram

STEP_SECONDS = 10.0
KEPT_SECONDS = 3600.0

_DIGITS = 4

Counts = tuple[float, ...]
"""Observations per bucket, from the lowest bound to infinity; not cumulative."""


class Measure(NamedTuple):
    """One line of a trend. `worst` selects the value that represents a step."""

    name: str
    title: str
    unit: Literal["seconds", "bytes", "keys", "per second", "share"]
    worst: Literal["highest", "lowest"] = "highest"


class Trend:
    """The last hour of some measures, in steps of equal length. The worst value of a step represents it.

    A step without a recorded value, e.g. while the process was suspended, has no value.
    """

    def __init__(self, measures: Sequence[Measure], *, step: float = STEP_SECONDS, kept: float = KEPT_SECONDS) -> None:
        self._measures = tuple(measures)
        self._step = step
        self._lines: dict[str, deque[float | None]] = {
            measure.name: deque(maxlen=max(1, round(kept / step))) for measure in measures
        }
        self._number: int | None = None
        self._worst: dict[str, float | None] = {}

    def record(self, now: float, values: Mapping[str, float | None]) -> bool:
        """Record the values measured at `now`, in seconds since epoch; return whether a step ended.

        Measures that are missing in `values`, None or not a number have no value at that time.
        """
        number = math.floor(now / self._step)
        ended = self._number is not None and number > self._number
        if self._number is None or ended:
            self._end_steps(number)
            self._number = number
            self._worst = {}
        for measure in self._measures:
            value = values.get(measure.name)
            if value is None or not math.isfinite(value):
                continue
            before = self._worst.get(measure.name)
            choose = max if measure.worst == "highest" else min
            self._worst[measure.name] = value if before is None else choose(before, value)
        return ended

    def show(self) -> Mapping[str, Any]:
        """Return the completed steps, oldest first, in plain values.

        `end` is when the last of them ended, in seconds since epoch, or None if there is none. `step` is in
        seconds. Each of `lines` has a `name`, a `title`, a `unit` and its `values`, null for a missing value.
        """
        ended = self._number is not None and any(self._lines.values())
        return {
            "step": self._step,
            "end": self._number * self._step if ended and self._number is not None else None,
            "lines": [
                {
                    "name": measure.name,
                    "title": measure.title,
                    "unit": measure.unit,
                    "values": [None if value is None else _short(value) for value in self._lines[measure.name]],
                }
                for measure in self._measures
            ],
        }

    def _end_steps(self, number: int) -> None:
        if self._number is None:
            return
        for name, line in self._lines.items():
            line.append(self._worst.get(name))
            # The line cannot hold more.
            line.extend([None] * min(number - self._number - 1, line.maxlen or 0))


def _short(value: float) -> float:
    """Round to a few significant digits: a response has hundreds of values."""
    if value == 0:
        return 0.0
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))


def read_counts(histogram: Histogram, label_names: Sequence[str]) -> dict[tuple[str, ...], Counts]:
    """Return the counts of each labelled child, by label values."""
    cumulative: dict[tuple[str, ...], list[float]] = {}
    for family in histogram.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                child = tuple(sample.labels[name] for name in label_names)
                cumulative.setdefault(child, []).append(sample.value)
    return {
        child: tuple(upper - lower for lower, upper in zip([0.0, *sums], sums, strict=False))
        for child, sums in cumulative.items()
    }


def _difference(now: Counts, before: Counts | None) -> Counts:
    """Return the observations between two readings."""
    return now if before is None else tuple(new - old for new, old in zip(now, before, strict=True))


def total(counts: Sequence[Counts], buckets: int) -> Counts:
    """Sum the counts of several children."""
    return tuple(map(sum, zip(*counts, strict=True))) if counts else (0.0,) * buckets


def quantile(share: float, counts: Counts, bounds: Sequence[float]) -> float | None:
    """Estimate the value below which `share` of the observations lie; None if there are none.

    It assumes that observations are spread evenly within a bucket, and that those above the last bound equal it, like
    `histogram_quantile` of Prometheus.
    """
    observations = sum(counts)
    if observations <= 0:
        return None
    rank, seen, lower = share * observations, 0.0, 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and seen + count >= rank:
            return min(upper, lower + (upper - lower) * (rank - seen) / count)
        seen, lower = seen + count, upper
    return lower


class Window:
    """Counts of children over about the last minute: the current counts minus older ones."""

    def __init__(self, readings: int) -> None:
        self._earlier: deque[Mapping[tuple[str, ...], Counts]] = deque(maxlen=readings)

    def keep(self, counts: Mapping[tuple[str, ...], Counts]) -> None:
        """Store a reading. The oldest stored reading begins the window."""
        self._earlier.append(counts)

    def since_oldest(self, counts: Mapping[tuple[str, ...], Counts]) -> dict[tuple[str, ...], Counts]:
        """Return the observations since the window began."""
        return self._since(counts, self._earlier[0] if self._earlier else {})

    def since_newest(self, counts: Mapping[tuple[str, ...], Counts]) -> dict[tuple[str, ...], Counts]:
        """Return the observations since the last stored reading."""
        return self._since(counts, self._earlier[-1] if self._earlier else {})

    @staticmethod
    def _since(
        counts: Mapping[tuple[str, ...], Counts], before: Mapping[tuple[str, ...], Counts]
    ) -> dict[tuple[str, ...], Counts]:
        return {child: _difference(now, before.get(child)) for child, now in counts.items()}
