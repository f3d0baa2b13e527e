"""The versions of documents: the moment a read began, never twice the same, never going back."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock() -> int:
    """Tell the time in microseconds since epoch."""
    return time.time_ns() // 1000


class HybridClock:
    """A hybrid logical clock (Kulkarni et al. 2014) in microseconds since epoch.

    It follows the wall clock, but a value never repeats and never goes back, even when the wall clock
    does. `start` is the durable bound that an earlier process left: every value of this one is above it.
    """

    def __init__(self, *, start: int = 0, now: Callable[[], int] = wall_clock) -> None:
        self._now = now
        self._last = start

    @property
    def last(self) -> int:
        """The newest value given out or seen."""
        return self._last

    def wall(self) -> int:
        """Tell the wall clock's time."""
        return self._now()

    def next(self) -> int:
        """Give out a value above every one before."""
        self._last = max(self._now(), self._last + 1)
        return self._last

    def observe(self, seen: int) -> None:
        """Take note of another clock's value: the next one of ours is above it."""
        self._last = max(self._last, seen)
