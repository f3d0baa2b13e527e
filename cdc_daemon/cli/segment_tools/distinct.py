"""How many different values there were, in bounded memory."""

from __future__ import annotations

import heapq
from hashlib import blake2b
from typing import Final

KEPT: Final = 4096
"""Hashes kept: up to so many values the count is exact, beyond that its standard error is 1/64."""
_HASHES: Final = 1 << 64


class DistinctCounter:
    """Counts different values by the least of their hashes (k minimum values, Bar-Yossef et al. 2002)."""

    __slots__ = ("_kept", "_largest", "exact")

    def __init__(self) -> None:
        self._kept: set[int] = set()
        self._largest: list[int] = []
        self.exact = True
        """Whether the count is exact."""

    def add(self, value: bytes) -> None:
        """Count a value."""
        number = int.from_bytes(blake2b(value, digest_size=8).digest(), "big")
        if number in self._kept:
            return
        if len(self._kept) < KEPT:
            self._kept.add(number)
            heapq.heappush(self._largest, -number)
            return
        self.exact = False
        if number < -self._largest[0]:
            self._kept.add(number)
            self._kept.discard(-heapq.heapreplace(self._largest, -number))

    @property
    def count(self) -> int:
        """How many different values there were, as far as can be told."""
        if self.exact:
            return len(self._kept)
        return round((KEPT - 1) * _HASHES / -self._largest[0])
