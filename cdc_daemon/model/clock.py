"""The versions of documents: the moment a read began, never twice the same, never going back."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock() -> int:
    """Tell the time in microseconds since epoch."""
    return time.time_ns() // 1000


RESERVED = 2_000_000
"""Microseconds by which the durable bound is ahead of the values given out: one commit in two seconds."""


def _remember_nothing(_bound: int) -> None:
    """Reserve for a clock whose values need not outlive the process."""


class HybridClock:
    """A hybrid logical clock (Kulkarni et al. 2014) in microseconds since epoch.

    It follows the wall clock, but a value never repeats and never goes back, even when the wall clock does,
    nor across a crash: `reserve` stores a bound durably before any value above the last bound is given
    out, and the next process starts with that bound as `start`. So a process begins at most `RESERVED`
    ahead of the wall clock, which catches up within that time. `reserve` may block for a commit and raise
    `StoreError`; no value is then given out.
    """

    def __init__(
        self,
        *,
        start: int = 0,
        now: Callable[[], int] = wall_clock,
        reserve: Callable[[int], None] = _remember_nothing,
    ) -> None:
        self._now = now
        self._last = start
        self._bound = start
        self._reserve = reserve

    def wall(self) -> int:
        """Tell the wall clock's time."""
        return self._now()

    def next(self) -> int:
        """Give out a value above every one before."""
        value = max(self._now(), self._last + 1)
        if value > self._bound:
            self._reserve(value + RESERVED)
            self._bound = value + RESERVED
        self._last = value
        return value

    def observe(self, seen: int) -> None:
        """Take note of another clock's value: the next one of ours is above it."""
        self._last = max(self._last, seen)
