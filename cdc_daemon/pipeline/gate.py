"""A gate before the pipeline, so that an operator can hold a source without stopping the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from cdc_daemon.pipeline.receipt import Receipt
from cdc_daemon.pipeline.signal import Signal


class Sink(Protocol):
    """What takes signals in."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in; wait while there is no room."""
        ...


class Gate:
    """Passes signals on while it is open. A source that meets it closed waits, as it does for a full pipeline."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._open = asyncio.Event()
        self._open.set()

    @property
    def closed(self) -> bool:
        """Whether sources wait."""
        return not self._open.is_set()

    def close(self) -> None:
        """Let nothing pass."""
        self._open.clear()

    def open(self) -> None:
        """Let everything pass again."""
        self._open.set()

    async def wait_open(self) -> None:
        """Wait while it is closed."""
        await self._open.wait()

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Pass signals on as soon as the gate is open."""
        await self._open.wait()
        await self._sink.submit(signals, receipt)
