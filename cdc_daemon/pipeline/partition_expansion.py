"""Expands a partition to its documents: applies a removal or a change of a static column row by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress

from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, PARTITION_FIELD, partition_term, read_clustering
from cdc_daemon.model.document_operation import DocumentOutcome
from cdc_daemon.model.errors import (
    CdcError,
    ElasticsearchRefusedError,
    ElasticsearchUnavailableError,
    TableDroppedError,
    Trouble,
)
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.ports import DocumentFinder, RowReader, Watch
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.documents import find_documents_with
from cdc_daemon.search.engine import SearchEngine


class PartitionDocuments:
    """Finds which rows of a partition have documents, in each index that its table feeds."""

    def __init__(self, engine: SearchEngine, aliases: Mapping[TableName, Sequence[str]]) -> None:
        self._engine = engine
        self._aliases = aliases

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Return the clustering keys of the partition's documents page by page, after a refresh of the index.

        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`, after the other indices were searched.
        """
        term = partition_term(partition_key)
        failure: ElasticsearchUnavailableError | ElasticsearchRefusedError | None = None
        for alias in self._aliases.get(table, ()):
            pages = find_documents_with(self._engine, alias, PARTITION_FIELD, term, source=[CLUSTERING_FIELD])
            try:
                async with aclosing(pages) as found:
                    async for page in found:
                        read = [read_clustering(each.source or {}) for each in page]
                        yield [clustering for clustering in read if clustering is not None]
            except (ElasticsearchUnavailableError, ElasticsearchRefusedError) as error:
                failure = failure or error
        if failure is not None:
            raise failure


class Children:
    """Rows that are settled before the next page of their partition is requested, so that memory use stays flat.

    Each row is needed for as long as the partition is. A `receipt` holds it; if only watches, which may close, need
    the partition, this object is one more watch instead.
    """

    def __init__(self, partition: Entry) -> None:
        self.open: set[Key] = set()
        self._troubles: dict[str, Trouble] = {}
        self._partition = partition
        self._settled = asyncio.Event()
        watched_only = partition.watches and not partition.receipts
        self.receipt = None if watched_only else Receipt(self._settled.set, follows=False, refusable=True)

    @property
    def troubles(self) -> Mapping[str, Trouble]:
        """Return the aliases that some of the rows wait for, each with the reason."""
        if self.receipt is not None:
            return {trouble.alias or "": trouble for trouble in self.receipt.refused.values()}
        return self._troubles

    @property
    def closed(self) -> bool:
        """Return whether nobody needs the partition any more."""
        return self._partition.abandoned

    def watch(self, key: Key) -> Sequence[Watch]:
        """Add a row to wait for, and return its watches."""
        if self.receipt is not None:
            return [*self._partition.watches]
        self.open.add(key)
        return [*self._partition.watches, self]

    def settled(self, key: Key, _documents: Sequence[DocumentOutcome]) -> None:
        """Record that a row is settled."""
        self.open.discard(key)
        if not self.open:
            self._settled.set()

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Do nothing for a row that has to be retried: the partition's watches are notified directly."""

    def refused(self, key: Key, troubles: Mapping[str, Trouble], _documents: Sequence[DocumentOutcome]) -> None:
        """Record that a row waits for aliases that take no writes, and stop waiting for it."""
        self._troubles.update(troubles)
        self.settled(key, ())

    def abandon(self) -> None:
        """Stop waiting."""
        self._settled.set()

    async def wait(self) -> None:
        """Wait until each row is settled, or until `abandon`."""
        if self.receipt is not None:
            self.receipt.release()
        elif not self.open:
            return
        await self._settled.wait()


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
        finder: DocumentFinder,
        router: Router | None = None,
        server_waits: ServerWaits | None = None,
        second_read_pause: float = 0.05,
    ) -> None:
        self._server_waits = server_waits or ServerWaits()
        self._coalescer = coalescer
        self._reader = reader
        self._finder = finder
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
                await self._signal(entry, self._server_waits.each("cassandra", clusterings, [entry]), troubles)
        if entry.search and not entry.abandoned and self._router.is_shown(key.table):
            found = self._finder.find(key.table, key.partition_key)
            try:
                await self._signal(entry, self._server_waits.each("elasticsearch", found, [entry]), troubles)
            except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
                unfound = error
        if entry.abandoned:
            return False
        if self._router.leads_on(entry):
            # A removed row shows no write time, so the second read is the rule (docs/guarantees.md, promise 2).
            await asyncio.sleep(self._pause)
            with suppress(TableDroppedError), self._server_waits.on("cassandra", [entry]):
                await self._reader.confirm_partition(key.table, key.partition_key)
            await self._router.record_changes([entry])
            self._router.pass_on(entry)
            if unfound is not None or troubles:
                entry.changed = False  # it is done again, and this is done
        if unfound is not None:
            raise unfound
        return True

    def abandon(self, keys: Iterable[Key]) -> None:
        """Stop the expansions of partitions that nobody needs any more, because their watches are closed."""
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
