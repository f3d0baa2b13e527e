"""The summary of several runs of one measurement."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of the runs of one measurement, in whatever unit."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median of the results."""
        return statistics.median(self.values)

    def as_dict(self) -> dict[str, float | list[float]]:
        """Return median, smallest, largest and each value."""
        return {
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "runs": list(self.values),
        }

    def __str__(self) -> str:
        return f"median {self.median:,.2f}  min {min(self.values):,.2f}  max {max(self.values):,.2f}"
