"""Finds the rows that have documents, and sweeps a table: reads the row of each document again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import structlog

from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, KEY_FIELD, PARTITION_FIELD, read_row_key
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.search.documents import find_documents
from cdc_daemon.search.engine import SearchEngine, StoredDocument
from cdc_daemon.search.searched_field import SearchedField, read_fields

log = structlog.get_logger(__name__)

DOCUMENTS_PER_SECOND = 5000.0
"""Maximum rate of a sweep: live changes are more urgent."""

KEEP_ALIVE = 600.0
"""Seconds for which a search stays open while a page is processed. An expired search is restarted."""

KeyOfId = Callable[[str], Key | None]
"""Reads the key of a row from a document's readable id; None if the id does not contain it."""


class MappedAlias(NamedTuple):
    """The alias of one mapping of a table, and how a row's key is read from the id of a document."""

    alias: str
    key_of: KeyOfId


class DocumentedRows:
    """Finds the keys of a table's rows that have documents, in each index of the table.

    `trusts` returns whether a document's version proves when its row was read.
    """

    def __init__(
        self,
        engine: SearchEngine,
        aliases: Mapping[TableName, Sequence[MappedAlias]],
        *,
        trusts: Callable[[int], bool] = lambda _version: True,
    ) -> None:
        self._engine = engine
        self._trusts = trusts
        self._aliases = aliases

    async def fields(self, alias: str, field: str) -> Sequence[SearchedField]:
        """Return how each index behind an alias can be queried for a field. Raises as `find` does."""
        return await read_fields(self._engine, alias, field)

    async def find(
        self,
        table: TableName,
        *,
        alias: str | None = None,
        query: Mapping[str, Any] | None = None,
        read_before: int | None = None,
    ) -> AsyncGenerator[Sequence[Key], None]:
        """Refresh each index; then return the keys page by page.

        `alias` limits the search to one alias, `query` to matching documents, and `read_before` (µs since epoch) to
        documents with at most this version, or with one that a clock ahead has issued. A document without a
        recognisable row is logged and left out.
        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        fields = [PARTITION_FIELD, CLUSTERING_FIELD, KEY_FIELD]
        for mapped in self._aliases.get(table, ()):
            if alias not in (None, mapped.alias):
                continue
            pages = find_documents(self._engine, mapped.alias, query, source=fields, keep_alive=KEEP_ALIVE)
            async with aclosing(pages) as found:
                async for page in found:
                    wanted = [
                        each
                        for each in page
                        if read_before is None or each.version <= read_before or not self._trusts(each.version)
                    ]
                    yield list(keys_of_page(wanted, table, mapped))


def keys_of_page(page: Iterable[StoredDocument], table: TableName, mapped: MappedAlias) -> Iterator[Key]:
    """Return the keys of the documents' rows; log the documents without a recognisable row."""
    for document in page:
        key = _stored_key(document, table) or mapped.key_of(str((document.source or {}).get(KEY_FIELD, document.id)))
        if key is not None:
            yield key
        else:
            log.warning(
                "removal.document_of_no_row",
                index=mapped.alias,
                id=document.id,
                hint="no row key can be read from its id: another program may have written it",
                every=60,
                every_key=mapped.alias,
            )


def _stored_key(document: StoredDocument, table: TableName) -> Key | None:
    found = read_row_key(document.source or {})
    return None if found is None else Key(table, *found)


class RowFinder(Protocol):
    """Finds the rows that have documents."""

    def find(self, table: TableName) -> AsyncIterator[Sequence[Key]]:
        """Return their keys page by page. Raises as searching does."""
        ...


class Sweep:
    """Submits the row of each document of a table for a new read, which deletes documents without a row.

    Rows are read and written as for any other signal, so rows inserted in the meantime stay, and the newest read wins.
    The next page is not signalled before the rows of the previous one are written. `counted` receives the number of
    documents of each page.
    """

    def __init__(
        self,
        rows: RowFinder,
        sink: BackgroundSink,
        gate: Gate,
        *,
        counted: Callable[[int], object],
        rate: float = DOCUMENTS_PER_SECOND,
    ) -> None:
        self._rows = rows
        self._sink = sink
        self._gate = gate
        self._counted = counted
        self._rate = rate

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        """Process the row of each document and return the number of documents.

        `suspected` is when rows of the table were removed (µs since epoch). Raises as searching does; the pages before
        that stay processed.
        """
        loop = asyncio.get_running_loop()
        count = 0
        async for keys in self._rows.find(table):
            begun = loop.time()
            signals = [
                Signal(table, key.partition_key, Scope.ROW, key.clustering or (), suspected=suspected) for key in keys
            ]
            await self._gate.wait_open()
            await hand_over(self._sink.submit_background, signals)
            count += len(keys)
            self._counted(len(keys))
            await asyncio.sleep(max(0.0, len(keys) / self._rate - (loop.time() - begun)))
        return count
