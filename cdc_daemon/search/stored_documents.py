"""Documents as they are in the index: some of them by their ids, or all of them one after another."""

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
"""How long Elasticsearch keeps a point in time between two pages, while the rows of one are compared."""


class StoredDocument(NamedTuple):
    """A document: its `_id`, routing value, version, and its source or the part of it that was asked for."""

    id: str
    routing: str | None
    version: int
    source: Mapping[str, Any] | None


async def fetch_documents(
    client: AsyncElasticsearch, names: Sequence[DocumentName], *, source: bool | Sequence[str] = True
) -> list[StoredDocument | None]:
    """Return each document as it is now, without a refresh; None where there is none.

    `source` says whether its source is wanted, or which fields of it.
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
    """Every document behind an alias, as of one moment after a refresh.

    With `part`, a number and of how many, only that part of them: as many as there are parts share them out.
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
        """Return about how many documents there are. Raises as `pages` does."""
        with told_apart("count documents", alias=self._alias):
            counted = read(COUNT, await self._client.count(index=self._alias))
        return counted["count"] // (1 if self._part is None else self._part[1])

    async def pages(self) -> AsyncGenerator[list[StoredDocument], None]:
        """Return the documents page by page. An iteration that is broken off should be closed (`aclose`).

        Nothing is left out silently: a shard that does not answer is an error. Raises `ElasticsearchUnavailableError`
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
