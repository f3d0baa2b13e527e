"""Whether everything written before a moment is shown by now, as far as the log can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from cdc_daemon.model.key import Key

PATIENCE = 120.0
"""Seconds that changes under way are waited for."""

_LOOKED_EVERY = 0.05


class Passing(Protocol):
    """Waits for what is under way."""

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Return when what was written before this call, and is known of these keys, is settled; False if it is not."""
        ...


class PassedTail(Protocol):
    """The tail, as far as one can wait for it."""

    async def wait_passed(self, seconds: float) -> None:
        """Return when all is acknowledged that was in the log `seconds` after this call."""
        ...


class PendingKeys(Protocol):
    """The pipeline, as far as it tells what is pending."""

    def is_pending(self, key: Key) -> bool:
        """Tell whether something is known of a key that is not settled yet."""
        ...


class LogPassing:
    """Waits for the tail to pass, and for keys that came from elsewhere.

    `pause` is how many seconds a write may take from being acknowledged to being readable in the log.
    """

    def __init__(self, tail: PassedTail, pending: PendingKeys, *, pause: float, patience: float = PATIENCE) -> None:
        self._tail = tail
        self._pending = pending
        self._pause = pause
        self._patience = patience

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Return when what was written before this call, and is known of these keys, is settled; False if it is not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause + self._patience):
                await self._tail.wait_passed(self._pause)
                for key in keys:
                    while self._pending.is_pending(key):  # noqa: ASYNC110 -- one look is cheaper than an event a key
                        await asyncio.sleep(_LOOKED_EVERY)
                return True
        return False
