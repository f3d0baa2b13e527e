"""From a partition to its documents: what a removal or a static column's change means row by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from cdc_daemon.errors import TableDroppedError
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.ports import RowReader, SiblingFinder
from cdc_daemon.pipeline.receipt import Receipt
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.signal import Clustering, Scope, Signal
from cdc_daemon.pipeline.waits import Waits


class Expansion:
    """Turns a partition's entry into signals for each of its documents.

    A removal looks at the documents that the index has for the partition: each becomes a row signal
    with the removal's time, a suspicion only, so that the row is read and its document removed or kept.
    A refresh looks at the partition's rows in Cassandra as well.
    It returns when each of the partition's documents is settled, so the entry, which is settled after that, is
    acknowledged only when each document is. Who watches the partition watches its rows.
    Where other documents show rows of the partition, `router` passes the change on to them, after a pause of
    `second_read_pause` seconds. These are not waited for, as they may need an expansion of their own.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        reader: RowReader,
        siblings: SiblingFinder,
        router: Router | None = None,
        waits: Waits | None = None,
        second_read_pause: float = 0.05,
    ) -> None:
        self._waits = waits or Waits()
        self._coalescer = coalescer
        self._reader = reader
        self._siblings = siblings
        self._router = router or Router(coalescer, {}, mapped=())
        self._pause = second_read_pause

    async def expand(self, entry: Entry) -> None:
        """Make the signals. Raises what finding documents or reading keys raises."""
        key = entry.key
        if entry.refresh and self._router.is_shown(key.table):
            with suppress(TableDroppedError):
                clusterings = self._reader.clusterings(key.table, key.partition_key)
                await self._signal(entry, self._waits.each("cassandra", clusterings, [entry]))
        if entry.search and self._router.is_shown(key.table):
            found = self._siblings.find(key.table, key.partition_key)
            await self._signal(entry, self._waits.each("elasticsearch", found, [entry]))
        if self._router.leads_on(entry):
            # What was removed shows no write time, so the second read is the rule (architecture, promise 2).
            await asyncio.sleep(self._pause)
            with suppress(TableDroppedError), self._waits.on("cassandra", [entry]):
                await self._reader.confirm_partition(key.table, key.partition_key)
            await self._router.keep_in_mind([entry])
            self._router.pass_on(entry)

    async def _signal(self, entry: Entry, pages: AsyncIterator[Sequence[Clustering]]) -> None:
        async for page in pages:
            children = _Children()
            for clustering in page:
                if entry.refresh or _is_below(clustering, entry.prefixes):
                    signal = Signal(
                        entry.key.table,
                        entry.key.partition_key,
                        Scope.ROW,
                        clustering,
                        written=entry.written if entry.refresh else 0,
                        suspected=entry.removed,
                        expires=entry.expires,
                        passed_on=True,
                        since=entry.oldest,
                    )
                    self._coalescer.add(signal, children.receipt, entry.watches, background=entry.background)
            await children.wait()


class _Children:
    """The rows of one page: the next page is asked for when they are settled, so that memory stays flat."""

    def __init__(self) -> None:
        self._settled = asyncio.Event()
        self.receipt = Receipt(self._settled.set, follows=False)

    async def wait(self) -> None:
        """Wait until each row is settled."""
        self.receipt.release()
        await self._settled.wait()


def _is_below(clustering: Clustering, prefixes: set[Clustering]) -> bool:
    return any(clustering[: len(prefix)] == prefix for prefix in prefixes)
