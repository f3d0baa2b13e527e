"""Long work on the event loop, done in small slices, so that no other task on the loop has to wait for all of it.

A thread would be no better: it needs the interpreter for all of the work, and takes it from the loop for milliseconds
in every iteration of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

Item = TypeVar("Item")

SLICE: Final = 200
"""Items of one slice. An item costs 2 to 8 µs, so a slice takes about a millisecond."""

FEW: Final = 20
"""Number of items processed at once: a wait for a turn would take longer."""

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Wait for this task's turn, and run the block, which must not wait.

    The loop grants one turn in each of its iterations, however many tasks have such work, in order of arrival.
    """
    lock = _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with lock:
        await asyncio.sleep(0)
        yield


async def in_slices(items: Sequence[Item], work: Callable[[int, Sequence[Item]], None]) -> None:
    """Call `work` with each slice of the items and the index of its first item, one slice each turn.

    A few items are one slice without a turn; no items are one empty slice. An error raised by `work` stops the rest.
    """
    if len(items) <= FEW:
        work(0, items)
        return
    for start in range(0, len(items), SLICE):
        async with turn():
            work(start, items[start : start + SLICE])
