"""Many observations of a histogram, exported together."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Histogram


class Observations:
    """Collects observations of a histogram, and adds them to it by `show`.

    `Histogram.observe` takes two locks and compares with each bound: more than a microsecond, which is too much for
    each row. prometheus-client has no call for several observations, so this one adds to the histogram's values.
    """

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self._bounds: list[float] = histogram._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Add one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def show(self) -> None:
        """Add the observations so far to the histogram."""
        if not any(self._counts):
            return
        self.histogram._sum.inc(self._sum)
        for at, count in enumerate(self._counts):
            if count:
                self.histogram._buckets[at].inc(count)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
