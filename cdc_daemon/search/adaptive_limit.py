"""An adaptive limit on concurrent bulk requests: as many as Elasticsearch accepts, up to a maximum."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class AdaptiveLimit:
    """A semaphore whose width shrinks under overload and grows back (additive increase, multiplicative decrease).

    Overload halves the width. Requests that started before the last reduction are ignored, as they add no
    information. Each success adds the reciprocal of the width, so about one width of successes
    increases the width by one.
    """

    def __init__(self, ceiling: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ceiling = ceiling
        self._clock = clock
        self._width = float(ceiling)
        self._shrunk = float("-inf")
        self._slots = asyncio.Semaphore(ceiling)
        self._withheld = 0

    @property
    def width(self) -> int:
        """The number of requests that may be in flight now."""
        return int(self._width)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Hold one slot; yield the time at which it was acquired."""
        await self._slots.acquire()
        try:
            yield self._clock()
        finally:
            if self._withheld < self._ceiling - self.width:
                self._withheld += 1
            else:
                self._slots.release()

    def succeeded(self) -> None:
        """Record a request that was accepted without overload."""
        self._width = min(self._width + 1 / self._width, float(self._ceiling))
        while self._withheld > self._ceiling - self.width:
            self._withheld -= 1
            self._slots.release()

    def overloaded(self, started: float) -> bool:
        """Record overload of the request that got its slot at `started`; return whether the width shrank."""
        if started < self._shrunk or self.width == 1:
            return False
        self._width = max(self._width / 2, 1.0)
        self._shrunk = self._clock()
        return True
