"""Signals handed over and waited for: what a part does that has no line of acknowledgements of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.ports import Reading
from cdc_daemon.pipeline.receipt import Receipt
from cdc_daemon.pipeline.signal import Signal

Submit = Callable[[Sequence[Signal], Receipt], Awaitable[None]]
"""Takes signals in, and holds the receipt for each until it is settled."""


class BackgroundSink(Protocol):
    """The pipeline, as far as work that may wait needs it."""

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in that may wait for all others; wait while there is no room."""
        ...


class RowSink(BackgroundSink, Protocol):
    """The pipeline, as far as work that may wait, and reads rows itself, needs it."""

    async def submit_rows(self, keys: Sequence[Key], reading: Reading, receipt: Receipt) -> None:
        """Take rows in that were read already, aligned with the keys; wait while there is no room."""
        ...


async def hand_over(submit: Submit, signals: Sequence[Signal]) -> None:
    """Hand signals over and return when each is settled in Elasticsearch, or durably elsewhere."""
    settled = asyncio.Event()
    receipt = Receipt(settled.set)
    try:
        await submit(signals, receipt)
    finally:
        receipt.release()
    await settled.wait()
