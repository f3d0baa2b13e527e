"""The labels of the value axis of a graph: few and round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_UNITS = {
    "s": ((60.0, "min"), (1.0, "s"), (1e-3, "ms")),
    "bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "ops": ((1e3, "k/s"), (1.0, "/s")),
    "short": ((1e6, "M"), (1e3, "k"), (1.0, "")),
}
_TIMES = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
"""Seconds: what waits, and what does not, are decades apart."""

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_STEPS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie between the bottom and the top; `logarithmic` for times."""

    ticks: Sequence[float]
    logarithmic: bool

    @classmethod
    def of(cls, values: Iterable[float], unit: str) -> Scale:
        """Return the scale of these values of a unit, which is one of Grafana's."""
        known = [value for value in values if math.isfinite(value)]
        top = max(known, default=0.0)
        if unit == "s":
            low = min((value for value in known if value > 0), default=1.0)
            below = max((time for time in _TIMES[:-1] if time <= low), default=_TIMES[0])
            above = min((time for time in _TIMES if time >= top and time > below), default=_TIMES[-1])
            return cls([time for time in _TIMES if below <= time <= above], logarithmic=True)
        factor = next((size for size, _ in _UNITS.get(unit, ()) if top >= size), 1.0)
        step = _round_up(top / factor / _MOST_STEPS) * factor
        return cls([step * number for number in range(max(math.ceil(top / step), 1) + 1)], logarithmic=False)

    def share(self, value: float) -> float:
        """Return how high a value lies, from 0 to 1; what is beyond the ends lies on them."""
        low, high = self.ticks[0], self.ticks[-1]
        within = min(max(value, low), high)
        if self.logarithmic:
            return math.log(within / low) / math.log(high / low)
        return (within - low) / (high - low)


def spell(value: float, unit: str) -> str:
    """Return a value with its unit, in the size that people would use."""
    scales = _UNITS.get(unit, ((1.0, ""),))
    factor, name = next(((factor, name) for factor, name in scales if value >= factor), scales[-1])
    return f"{value / factor:.3g} {name}".strip()


def _round_up(step: float) -> float:
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(each * power for each in _STEPS if each * power >= step)
