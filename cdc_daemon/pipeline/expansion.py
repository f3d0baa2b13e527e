"""Expands a partition to its documents: applies a removal or a change of a static column row by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress

from cdc_daemon.model.errors import (
    CdcError,
    ElasticsearchRefusedError,
    ElasticsearchUnavailableError,
    TableDroppedError,
)
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import Clustering, Scope, Signal
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.partition_page import Children
from cdc_daemon.pipeline.ports import RowReader, SiblingFinder
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.troubled import Troubled


class Expansion:
    """Expands a partition's entry into signals for each of its documents.

    A removal searches the index for the documents of the partition: each becomes a row signal
    with the removal's time, only as a suspicion, so that the row is read and its document removed or kept.
    A refresh reads the partition's rows in Cassandra as well.
    `expand` returns when each of the partition's documents is settled. The partition's entry is settled after that, so
    it is acknowledged only when each document is. Watches of the partition also watch its rows. If only watches need
    the rows, `abandon` stops the expansion as soon as all of them are closed.
    The expansion does not wait for rows that wait for an alias in trouble; the partition must then be expanded again.
    If other documents show rows of the partition, `router` passes the change on to them, after a pause of
    `second_read_pause` seconds. The expansion does not wait for these, as they may need an expansion of their own.
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
        self._under_way: dict[Key, Children] = {}

    def hopeless(self, entry: Entry, troubled: Troubled) -> Mapping[str, Trouble] | None:
        """Return why none of a partition's documents can be written, if no other documents wait for its rows."""
        if not troubled.any or self._router.leads_on(entry):
            return None
        return troubled.whole_table(entry.key.table) or None

    async def expand(self, entry: Entry, troubles: dict[str, Trouble]) -> bool:
        """Create the signals and return whether the expansion completed: it stops if nobody needs the partition.

        Aliases that take no writes, and for which rows wait, are added to `troubles`.
        Raises the errors of finding documents and of reading keys.
        """
        key = entry.key
        unfound: CdcError | None = None
        if entry.refresh and self._router.is_shown(key.table):
            with suppress(TableDroppedError):
                clusterings = self._reader.clusterings(key.table, key.partition_key)
                await self._signal(entry, self._waits.each("cassandra", clusterings, [entry]), troubles)
        if entry.search and not entry.abandoned and self._router.is_shown(key.table):
            found = self._siblings.find(key.table, key.partition_key)
            try:
                await self._signal(entry, self._waits.each("elasticsearch", found, [entry]), troubles)
            except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
                unfound = error
        if entry.abandoned:
            return False
        if self._router.leads_on(entry):
            # A removed row shows no write time, so the second read is the rule (docs/guarantees.md, promise 2).
            await asyncio.sleep(self._pause)
            with suppress(TableDroppedError), self._waits.on("cassandra", [entry]):
                await self._reader.confirm_partition(key.table, key.partition_key)
            await self._router.record_changes([entry])
            self._router.pass_on(entry)
            if unfound is not None or troubles:
                entry.changed = False  # it is done again, and this is done
        if unfound is not None:
            raise unfound
        return True

    def abandon(self, keys: Iterable[Key]) -> None:
        """Stop the expansions of partitions that nobody needs any more, because their watch was closed."""
        for key in keys:
            children = self._under_way.get(key)
            if children is not None and children.closed:
                self._coalescer.withdraw(children.open)
                children.abandon()

    async def _signal(
        self, entry: Entry, pages: AsyncGenerator[Sequence[Clustering], None], troubles: dict[str, Trouble]
    ) -> None:
        async with aclosing(pages):
            async for page in pages:
                if entry.abandoned:
                    return
                children = self._under_way[entry.key] = Children(entry)
                try:
                    for clustering in page:
                        if entry.refresh or _is_below(clustering, entry.prefixes):
                            self._add(entry, clustering, children)
                    await children.wait()
                    troubles.update(children.troubles)
                finally:
                    del self._under_way[entry.key]

    def _add(self, entry: Entry, clustering: Clustering, children: Children) -> None:
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
        watches = children.watch(Key.of(signal))
        self._coalescer.add(signal, children.receipt, watches, background=entry.background)


def _is_below(clustering: Clustering, prefixes: set[Clustering]) -> bool:
    return any(clustering[: len(prefix)] == prefix for prefix in prefixes)
