"""Pauses that grow, with jitter, so that many daemons do not come back in step."""

from __future__ import annotations

import random


class Backoff:
    """Exponential backoff with equal jitter: each pause lies between a half and the whole of its bound.

    The bound starts at `first` and doubles up to a cap; both in seconds.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._bound = first

    def next(self, cap: float) -> float:
        """Return the next pause in seconds, at most `cap`."""
        bound = min(self._bound, cap)
        self._bound = min(self._bound * 2, cap)
        return bound * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    def reset(self) -> None:
        """Start over with the first pause."""
        self._bound = self._first
