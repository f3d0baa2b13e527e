"""The queue of changed rows, kept in the store, for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cdc_daemon.store.dependents import ChangedRow, Dependent, DependentStore


class StoredQueue:
    """Async access to the store's queue."""

    def __init__(self, store: DependentStore) -> None:
        self._store = store

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        """Store changed rows durably. Raises `StoreError`."""
        await asyncio.to_thread(self._store.add, rows)

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the oldest rows."""
        if not self._store.count:
            return ()
        return await asyncio.to_thread(self._store.oldest, limit, besides=besides)

    async def pass_over(self, dependent: Dependent) -> None:
        """Skip a row until it changes again, or until `bring_back`."""
        await asyncio.to_thread(self._store.pass_over, dependent)

    async def bring_back(self) -> None:
        """Stop skipping the rows that were passed over."""
        await asyncio.to_thread(self._store.bring_back)

    async def done(self, dependent: Dependent) -> None:
        """Delete a row, unless it has changed again since."""
        await asyncio.to_thread(self._store.done, dependent)
