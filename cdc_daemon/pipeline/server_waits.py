"""Tracks which server is awaited, and since when, to report the cause of a delay; the pause after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, Trouble, alias_of
from cdc_daemon.model.signal import Key
from cdc_daemon.pipeline.entry import Entry

log = structlog.get_logger(__name__)

T = TypeVar("T")

ALIAS_PAUSE = 0.05
"""Longest pause of a worker, in seconds, after a failure that concerns one alias."""


class _Wait:
    """A wait for a server since `began`. If it has `inner` waits, these account for the time."""

    __slots__ = ("began", "entries", "inner", "service")

    def __init__(self, began: float, service: str, entries: Sequence[Entry]) -> None:
        self.began = began
        self.service = service
        self.entries = entries
        self.inner = 0

    def concerns(self, keys: Collection[Key]) -> bool:
        return any(entry.key in keys or entry.key._replace(clustering=None) in keys for entry in self.entries if keys)


_outer: ContextVar[_Wait | None] = ContextVar("outer", default=None)


class ServerWaits:
    """Tracks the requests to servers in flight, and the pauses of workers after a failure."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: set[_Wait] = set()
        self._pauses: dict[object, Trouble] = {}

    @contextmanager
    def on(self, service: str, entries: Sequence[Entry] = ()) -> Iterator[None]:
        """Record a wait for a server during a block, on behalf of entries.

        A nested block is on behalf of the same entries, and only the nested block counts until it ends.
        """
        outer = _outer.get()
        wait = _Wait(self._clock(), service, entries or (() if outer is None else outer.entries))
        self._open.add(wait)
        token = _outer.set(wait)
        if outer is not None:
            outer.inner += 1
        try:
            yield
        finally:
            self._open.remove(wait)
            _outer.reset(token)
            if outer is not None:
                outer.inner -= 1
                outer.began = self._clock()

    @contextmanager
    def after(self, error: CdcError) -> Iterator[None]:
        """Record a pause during a block because of an error."""
        mark = object()
        self._pauses[mark] = Trouble.of(error)
        try:
            yield
        finally:
            del self._pauses[mark]

    async def each(
        self, service: str, pages: AsyncIterator[T], entries: Sequence[Entry] = ()
    ) -> AsyncGenerator[T, None]:
        """Yield the pages; the server counts as awaited until each page arrives, and not while the page is used.

        Close an iteration that ends early (`aclose`); this also closes that of the pages.
        """
        try:
            while True:
                with self.on(service, entries):
                    page = await anext(pages, None)
                if page is None:
                    return
                yield page
        finally:
            if isinstance(pages, AsyncGenerator):
                await pages.aclose()

    def trouble(self, at_least: float, keys: Collection[Key] = ()) -> Trouble | None:
        """Return the server that has been awaited for at least so many seconds, the longest first, or a worker's pause.

        A wait on behalf of `keys`, or of rows of these partitions, has priority. A pause comes last, because its cause
        may have ended.
        """
        now = self._clock()
        waits = [wait for wait in self._open if not wait.inner and now - wait.began >= at_least]
        waits = [wait for wait in waits if wait.concerns(keys)] or waits
        if waits:
            longest = min(waits, key=lambda wait: wait.began)
            return Trouble(longest.service, f"no answer for {now - longest.began:.1f} s")
        return next(iter(self._pauses.values()), None)


class RetryPause:
    """The pause of a worker after a failure. `doubt` is called with the alias that the failure concerns, if any."""

    def __init__(self, waits: ServerWaits, doubt: Callable[[str], None] = lambda _: None) -> None:
        self._waits = waits
        self._doubt = doubt

    async def after(self, error: CdcError, backoff: Backoff) -> None:
        """Log the failure and wait for the next delay of `backoff`."""
        delay = backoff.next()
        if (alias := alias_of(error)) is not None:
            # Its own keys wait longer; if the worker waited, keys of other indices would wait too.
            self._doubt(alias)
            delay = min(delay, ALIAS_PAUSE)
        log.warning("pipeline.retry", error=error.message, hint=error.hint, retry_in_seconds=round(delay, 3))
        with self._waits.after(error):
            await asyncio.sleep(delay)
