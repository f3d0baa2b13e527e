"""Where blocking work is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs blocking work somewhere."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run it and return what it returns."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run work in a worker thread of the loop."""
    return await asyncio.to_thread(work)


async def inline(work: Callable[[], T], /) -> T:
    """Run work at once, in the loop: for tests and simulations."""
    return work()
