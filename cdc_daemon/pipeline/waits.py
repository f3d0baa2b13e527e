"""Which server is waited for, and since when: to tell those who wait in vain whose fault it is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cdc_daemon.errors import CdcError
from cdc_daemon.pipeline.watch import Trouble

T = TypeVar("T")


class Waits:
    """Knows the requests to servers that are under way, and what workers pause for after a failure."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[object, tuple[float, str]] = {}
        self._pauses: dict[object, Trouble] = {}

    @contextmanager
    def on(self, service: str) -> Iterator[None]:
        """Wait for a server during a block."""
        mark = object()
        self._open[mark] = (self._clock(), service)
        try:
            yield
        finally:
            del self._open[mark]

    @contextmanager
    def after(self, error: CdcError) -> Iterator[None]:
        """Pause during a block because of an error."""
        mark = object()
        self._pauses[mark] = Trouble.of(error)
        try:
            yield
        finally:
            del self._pauses[mark]

    async def each(self, service: str, pages: AsyncIterator[T]) -> AsyncIterator[T]:
        """Pass pages on; their server is waited for until each comes, and not while it is used."""
        while True:
            with self.on(service):
                page = await anext(pages, None)
            if page is None:
                return
            yield page

    def trouble(self, at_least: float) -> Trouble | None:
        """Tell what a worker pauses for, or which server has been waited for so many seconds, the longest first."""
        for pause in self._pauses.values():
            return pause
        began, service = min(self._open.values(), default=(self._clock(), ""))
        seconds = self._clock() - began
        return Trouble(service, f"no answer for {seconds:.1f} s") if service and seconds >= at_least else None
