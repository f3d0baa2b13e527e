"""Long work on the event loop, done in small slices, so that whatever else the loop has to do waits for none of it.

A thread would be no better: it needs the interpreter for all of the work, and takes it from the loop for milliseconds
at every turn of the loop.
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
"""Items that are worked on at once: to wait for a turn would take longer."""

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Wait until it is this task's turn, and do the block's work, which must not wait.

    The loop has one turn in each of its rounds, however many tasks have such work, and gives it to them in order.
    """
    lock = _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with lock:
        await asyncio.sleep(0)
        yield


async def in_slices(items: Sequence[Item], work: Callable[[int, Sequence[Item]], None]) -> None:
    """Call `work` with each slice of the items and the place of its first one, a slice each turn.

    A few items are one slice without a turn, none are an empty one. What `work` raises ends it.
    """
    if len(items) <= FEW:
        work(0, items)
        return
    for start in range(0, len(items), SLICE):
        async with turn():
            work(start, items[start : start + SLICE])
