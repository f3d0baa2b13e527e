"""Reads of the documents in the index: some of them by their ids, or all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.search.answers import COUNT, Got, is_found, read, required
from cdc_daemon.search.document_versions import DocumentName, documents_of
from cdc_daemon.search.failure import told_apart
from cdc_daemon.search.pages import find_pages

KEEP_ALIVE = "5m"
"""The keep-alive of a point in time between two pages, while the rows of one page are compared."""


class StoredDocument(NamedTuple):
    """A document: its `_id`, routing value, version, and its source or the requested part of it."""

    id: str
    routing: str | None
    version: int
    source: Mapping[str, Any] | None


async def fetch_documents(
    client: AsyncElasticsearch, names: Sequence[DocumentName], *, source: bool | Sequence[str] = True
) -> list[StoredDocument | None]:
    """Return the current state of each document, without a refresh; None for a missing document.

    `source` selects the whole source, none of it, or some of its fields.
    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-multi-get.html
    """
    if not names:
        return []
    wanted = [
        {"_index": name.alias, "_id": name.id, **({} if name.routing is None else {"routing": name.routing})}
        for name in names
    ]
    with told_apart("fetch documents", alias=names[0].alias):
        answer = await client.mget(docs=wanted, source=source if isinstance(source, bool) else list(source))
        documents = documents_of(answer, len(names))
        return [_stored(name, document) for name, document in zip(names, documents, strict=True)]


def _stored(name: DocumentName, document: Got) -> StoredDocument | None:
    if "error" in document:
        raise ElasticsearchUnavailableError(
            f"could not fetch a document: {document['error'].get('type')}", alias=name.alias, id=name.id
        )
    if not is_found(document):
        return None
    version = required(document.get("_version"), "_version")
    return StoredDocument(name.id, document.get("_routing"), version, document.get("_source"))


class DocumentWalk:
    """Every document behind an alias, from one snapshot after a refresh.

    `part` is a part's number and the number of parts: it selects only that part. All parts together are all documents.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        alias: str,
        *,
        source: Sequence[str] = (),
        page: int = 1000,
        part: tuple[int, int] | None = None,
    ) -> None:
        self._client = client
        self._alias = alias
        self._source = list(source)
        self._page = page
        self._part = part

    async def count(self) -> int:
        """Return the approximate number of documents. Raises as `pages` does."""
        with told_apart("count documents", alias=self._alias):
            counted = read(COUNT, await self._client.count(index=self._alias))
        return counted["count"] // (1 if self._part is None else self._part[1])

    async def pages(self) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield the documents page by page. Close an iteration that you abandon (`aclose`).

        Nothing is omitted silently: a shard that does not answer is an error. Raises `ElasticsearchUnavailableError`
        and `ElasticsearchRefusedError`.
        """
        search = {} if self._part is None else {"slice": {"id": self._part[0], "max": self._part[1]}}
        pages = find_pages(
            self._client, self._alias, search, source=self._source, page=self._page, keep_alive=KEEP_ALIVE
        )
        async with aclosing(pages) as found:
            async for hits in found:
                yield [
                    StoredDocument(hit["_id"], hit.get("_routing"), hit["_version"], hit.get("_source")) for hit in hits
                ]
