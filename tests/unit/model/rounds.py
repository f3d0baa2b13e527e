"""How much work the running event loop does in one of its rounds."""

from __future__ import annotations

import asyncio
from typing import Self


class Rounds:
    """Counts what is reported between two rounds of the loop; `most` is the largest count of one round."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None

    def __enter__(self) -> Self:
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.cancel()

    def count(self, work: int = 1) -> None:
        """Record some work."""
        self._now += work
        self.most = max(self.most, self._now)

    def _next(self) -> None:
        self._now = 0
        self._handle = self._loop.call_soon(self._next)
