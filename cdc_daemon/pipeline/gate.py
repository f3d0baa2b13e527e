"""A gate before the pipeline, so that an operator can pause a source without stopping the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal


class Sink(Protocol):
    """Accepts signals."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Submit signals; wait while the pipeline is full."""
        ...


class Pause(NamedTuple):
    """The operator who closed a gate, and the time in seconds since epoch."""

    by: str
    since: float


class Gate:
    """Passes signals on while it is open. A source waits at a closed gate, as it does for a full pipeline."""

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
        """Return who closed the gate and when; None while it is open, and if no operator was named."""
        return self._pause

    @property
    def closed(self) -> bool:
        """Return whether sources wait."""
        return not self._open.is_set()

    def close(self, pause: Pause | None = None) -> None:
        """Stop all signals; a gate that is already closed keeps its first pause."""
        self._pause = self._pause or pause
        self._open.clear()
        self._update()

    def open(self) -> None:
        """Pass signals on again."""
        self._pause = None
        self._open.set()
        self._update()

    def divert(self, elsewhere: Callable[[Sequence[Signal]], Awaitable[None]] | None) -> None:
        """Redirect signals at the closed gate to `elsewhere`, which settles them by returning; None ends that."""
        self._diversion = elsewhere
        self._update()

    async def wait_open(self) -> None:
        """Wait while the gate is closed."""
        await self._open.wait()

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Pass signals on as soon as the gate is open."""
        while True:
            await self._passable.wait()
            if self._open.is_set():
                await self._sink.submit(signals, receipt)
                return
            if self._diversion is not None:
                receipt.stored = True
                await self._diversion(signals)
                return

    def _update(self) -> None:
        if self._open.is_set() or self._diversion is not None:
            self._passable.set()
        else:
            self._passable.clear()
