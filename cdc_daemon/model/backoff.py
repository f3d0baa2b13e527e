"""Exponential backoff with jitter for retries."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first` to `last` seconds, each reduced at random to at least half.

    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015: "equal jitter".)
    """

    FIRST = 0.05
    LAST = 5.0

    def __init__(self, *, first: float = FIRST, last: float = LAST) -> None:
        self._first = first
        self._last = last
        self._attempts = 0

    def next(self, last: float | None = None) -> float:
        """Return the seconds to wait before the next retry, at most `last` if given."""
        self._attempts += 1
        return self.delay(self._attempts - 1, first=self._first, last=self._last if last is None else last)

    def reset(self) -> None:
        """Reset the delay after a success."""
        self._attempts = 0

    @staticmethod
    def delay(attempts: int, *, first: float = FIRST, last: float = LAST) -> float:
        """Return the seconds to wait after a failure that `attempts` other failures preceded."""
        full: float = min(last, first * 2 ** min(attempts, 30))
        return full / 2 + random.random() * full / 2  # noqa: S311 -- jitter is no secret
