"""A gate before the pipeline, so that an operator can hold a source without stopping the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal


class Sink(Protocol):
    """What takes signals in."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in; wait while there is no room."""
        ...


class Pause(NamedTuple):
    """Who closed a gate, and when in seconds since epoch."""

    by: str
    since: float


class Gate:
    """Passes signals on while it is open. A source that meets it closed waits, as it does for a full pipeline."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._open = asyncio.Event()
        self._open.set()
        self._passable = asyncio.Event()
        self._passable.set()
        self._diversion: Callable[[Sequence[Signal]], Awaitable[None]] | None = None
        self._pause: Pause | None = None

    @property
    def pause(self) -> Pause | None:
        """Who closed it and when; None while it is open, and where nobody is named."""
        return self._pause

    @property
    def closed(self) -> bool:
        """Whether sources wait."""
        return not self._open.is_set()

    def close(self, pause: Pause | None = None) -> None:
        """Stop all signals; a gate that is closed already keeps its first pause."""
        self._pause = self._pause or pause
        self._open.clear()
        self._update()

    def open(self) -> None:
        """Pass signals on again."""
        self._pause = None
        self._open.set()
        self._update()

    def divert(self, elsewhere: Callable[[Sequence[Signal]], Awaitable[None]] | None) -> None:
        """Hand what meets the closed gate to `elsewhere`, which settles it by returning; None lets it wait again."""
        self._diversion = elsewhere
        self._update()

    async def wait_open(self) -> None:
        """Wait while it is closed."""
        await self._open.wait()

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Pass signals on as soon as the gate is open."""
        while True:
            await self._passable.wait()
            if self._open.is_set():
                await self._sink.submit(signals, receipt)
                return
            if self._diversion is not None:
                await self._diversion(signals)
                return

    def _update(self) -> None:
        if self._open.is_set() or self._diversion is not None:
            self._passable.set()
        else:
            self._passable.clear()
