"""Whether everything written to Cassandra before a moment is in the documents, as far as the log can show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from cdc_daemon.model.key import Key

PATIENCE = 120.0
"""Maximum seconds to wait for changes in flight."""

_LOOKED_EVERY = 0.05


class Passing(Protocol):
    """Waits for changes in flight."""

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Return when all changes before this call, and all known ones of these keys, are written; False if not."""
        ...


class PassedTail(Protocol):
    """The tail, as far as it can be waited for."""

    async def wait_passed(self, seconds: float) -> None:
        """Return when everything that was in the log `seconds` after this call is acknowledged."""
        ...


class PendingKeys(Protocol):
    """The pipeline, as far as it shows pending keys."""

    def is_pending(self, key: Key) -> bool:
        """Return whether a key has a change that is not written yet."""
        ...


class LogPassing:
    """Waits for the tail to pass, and for keys from other sources.

    `pause` is the maximum seconds between the acknowledgement of a write and its appearance in the log.
    """

    def __init__(self, tail: PassedTail, pending: PendingKeys, *, pause: float, patience: float = PATIENCE) -> None:
        self._tail = tail
        self._pending = pending
        self._pause = pause
        self._patience = patience

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Return when all changes before this call, and all known ones of these keys, are written; False if not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause + self._patience):
                await self._tail.wait_passed(self._pause)
                for key in keys:
                    while self._pending.is_pending(key):  # noqa: ASYNC110 -- one check is cheaper than an event per key
                        await asyncio.sleep(_LOOKED_EVERY)
                return True
        return False
