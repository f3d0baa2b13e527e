"""Quantiles of a histogram's recent observations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from prometheus_client import Histogram

Counts = tuple[float, ...]
"""Observations per bucket, from the lowest bound to infinity; not cumulative."""


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


def difference(now: Counts, before: Counts | None) -> Counts:
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
        return {child: difference(now, before.get(child)) for child, now in counts.items()}
