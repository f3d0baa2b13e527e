"""Recent values of a few measures, in memory, of bounded size."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

STEP_SECONDS = 10.0
KEPT_SECONDS = 3600.0

_DIGITS = 4


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
