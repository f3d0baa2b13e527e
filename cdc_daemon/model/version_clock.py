"""The versions of documents: the time a read began. Versions rise, unless the wall clock was ahead and is corrected."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


def wall_clock() -> int:
    """Return the time in microseconds since epoch."""
    return time.time_ns() // 1000


RESERVED = 2_000_000
"""Microseconds by which the durable bound is ahead of the issued values: one commit every two seconds."""


FORGOTTEN = 86_400_000_000
"""Microseconds after which a range of untrusted versions is replaced by a later one instead of being extended."""


class VersionRange(NamedTuple):
    """The versions above `first` up to and including `last`."""

    first: int
    last: int

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.first < version <= self.last


NO_VERSIONS = VersionRange(0, 0)


def _remember_nothing(_bound: int) -> None:
    """Do nothing: the `reserve` of a clock with values that need not outlive the process."""


class HybridClock:
    """A hybrid logical clock (Kulkarni et al. 2014) in microseconds since epoch.

    It follows the wall clock, but a value never repeats and never decreases, even if the wall clock goes back
    or the process crashes. `reserve` stores a bound durably before any value above the last bound is
    issued, and the next process starts with that bound as `start`. So a process begins at most `RESERVED`
    ahead of the wall clock, which catches up within that time. `reserve` may block for a commit and raise
    `StoreError`; then no value is issued.

    The exception is `step_back`: after the wall clock was ahead, values would stay ahead until it has caught up. The
    values that were issued ahead are then untrusted: a document with such a version is not newer than a later read with
    a lower one. `untrusted` are those of earlier processes. `allowed` (µs) is how far another daemon's clock may be
    ahead.
    """

    def __init__(
        self,
        *,
        start: int = 0,
        now: Callable[[], int] = wall_clock,
        reserve: Callable[[int], None] = _remember_nothing,
        untrusted: VersionRange = NO_VERSIONS,
        allowed: int = 2_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.untrusted = untrusted
        """Versions that do not prove that a document was read late."""
        self.stepped_back_at = float("-inf")
        """Monotonic seconds of the last step back. Rows that were read before it have versions that are too high."""
        self.allowed = allowed
        self._now = now
        self._last = start
        self._bound = start
        self._reserve = reserve
        self._monotonic = monotonic

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

    def lead(self) -> int:
        """Return by how many microseconds the values are ahead of the wall clock."""
        return max(0, self._last - self._now())

    def step_back(self, keep: Callable[[int, VersionRange], None]) -> None:
        """Continue at the wall clock, which must be right; the values ahead of it are untrusted from now on.

        `keep` stores the new bound and the untrusted range durably. It may block for a commit and raise `StoreError`;
        then nothing changes. The caller discards what was built of rows read before `stepped_back_at`.
        """
        now = self._now()
        untrusted = self._extended(now, max(self._last, self._bound))
        keep(now + RESERVED, untrusted)
        self.untrusted = untrusted
        self._last, self._bound = now, now + RESERVED
        self.stepped_back_at = self._monotonic()

    def distrust(self, version: int) -> None:
        """Trust no version from now up to this one: another daemon's clock was ahead, or another program wrote it."""
        self.untrusted = self._extended(self._now(), version)

    def is_untrusted(self, version: int) -> bool:
        """Return whether a document's version does not prove that its row was read after reads with lower versions."""
        return version in self.untrusted

    def trusts(self, version: int) -> bool:
        """Return whether a daemon whose clock is right may have issued this version by now, and not one ahead."""
        return version <= self._now() + self.allowed and version not in self.untrusted

    def _extended(self, first: int, last: int) -> VersionRange:
        known = self.untrusted
        if known == NO_VERSIONS or known.last + FORGOTTEN < first:
            return VersionRange(first, last)
        return VersionRange(min(known.first, first), max(known.last, last))
