"""Executors for blocking work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs blocking work."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run the work and return its result."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run work in a worker thread of the event loop."""
    return await asyncio.to_thread(work)


async def inline(work: Callable[[], T], /) -> T:
    """Run work directly in the event loop; for tests and simulations."""
    return work()
