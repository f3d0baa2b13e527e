"""Which rows the documents of an index show, according to the documents."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import structlog

from cdc_daemon.document.bookkeeping import read_row_key
from cdc_daemon.document.mapping import CLUSTERING_FIELD, KEY_FIELD, PARTITION_FIELD
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.documents import find_documents
from cdc_daemon.search.engine import SearchEngine, StoredDocument
from cdc_daemon.search.searched_field import SearchedField, read_fields

log = structlog.get_logger(__name__)

KEEP_ALIVE = 600.0
"""Seconds that a search lives while a page is processed. A search that expired is restarted."""

KeyOfId = Callable[[str], Key | None]
"""Reads the key of a row from a document's readable id; None where the id does not contain it."""


class Feed(NamedTuple):
    """One mapping of a table: its alias, and how a key is read from the id of its documents."""

    alias: str
    key_of: KeyOfId


class IndexRows:
    """Finds the keys of rows that have documents, in each index of their table."""

    def __init__(self, engine: SearchEngine, feeds: Mapping[TableName, Sequence[Feed]]) -> None:
        self._engine = engine
        self._feeds = feeds

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
        """Return the keys page by page, as of a fresh refresh of each index.

        With `alias` only that one is searched, with `query` only documents that it matches, and with `read_before`
        (µs since epoch) only those whose version is not above it. A document without a recognisable row is logged and
        left out.
        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        fields = [PARTITION_FIELD, CLUSTERING_FIELD, KEY_FIELD]
        for feed in self._feeds.get(table, ()):
            if alias not in (None, feed.alias):
                continue
            pages = find_documents(self._engine, feed.alias, query, source=fields, keep_alive=KEEP_ALIVE)
            async with aclosing(pages) as found:
                async for page in found:
                    wanted = [each for each in page if read_before is None or each.version <= read_before]
                    yield list(keys_of_page(wanted, table, feed))


def keys_of_page(page: Iterable[StoredDocument], table: TableName, feed: Feed) -> Iterator[Key]:
    """Return the keys of the rows that documents show; log the documents without a recognisable row."""
    for document in page:
        key = _bookkept(document, table) or feed.key_of(str((document.source or {}).get(KEY_FIELD, document.id)))
        if key is not None:
            yield key
        else:
            log.warning(
                "removal.document_of_no_row",
                index=feed.alias,
                id=document.id,
                hint="its row cannot be told from its id: was it written by somebody else?",
                every=60,
                every_key=feed.alias,
            )


def _bookkept(document: StoredDocument, table: TableName) -> Key | None:
    found = read_row_key(document.source or {})
    return None if found is None else Key(table, *found)
