"""The versions of documents: the time a read began; a version never repeats and never decreases."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock() -> int:
    """Return the time in microseconds since epoch."""
    return time.time_ns() // 1000


RESERVED = 2_000_000
"""Microseconds by which the durable bound is ahead of the issued values: one commit every two seconds."""


def _remember_nothing(_bound: int) -> None:
    """Do nothing: the `reserve` of a clock with values that need not outlive the process."""


class HybridClock:
    """A hybrid logical clock (Kulkarni et al. 2014) in microseconds since epoch.

    It follows the wall clock, but a value never repeats and never decreases, even if the wall clock goes back
    or the process crashes. `reserve` stores a bound durably before any value above the last bound is
    issued, and the next process starts with that bound as `start`. So a process begins at most `RESERVED`
    ahead of the wall clock, which catches up within that time. `reserve` may block for a commit and raise
    `StoreError`; then no value is issued.
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
        """Return the wall clock's time."""
        return self._now()

    def next(self) -> int:
        """Return a value above every previous one."""
        value = max(self._now(), self._last + 1)
        if value > self._bound:
            self._reserve(value + RESERVED)
            self._bound = value + RESERVED
        self._last = value
        return value

    def observe(self, seen: int) -> None:
        """Record another clock's value: the next value of this clock is above it."""
        self._last = max(self._last, seen)
