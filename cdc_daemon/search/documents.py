"""Reads of the documents in the index: by their ids, by the value of a field, or all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from cdc_daemon.search.engine import DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.failure import EngineError, Failure, attempting, broken_answer, error_of

KEEP_ALIVE = 60.0
"""Seconds for which a snapshot is kept between two pages."""

_WALK_KEEP_ALIVE = 300.0
"""The same while the rows of each page are compared."""


async def refresh(engine: SearchEngine, target: str) -> None:
    """Refresh the indices behind an alias, so that searches see all writes.

    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`, as all functions here.
    """
    with attempting("refresh", alias=target):
        await engine.refresh(target)


async def count_documents(engine: SearchEngine, target: str) -> int:
    """Return the number of documents that searches find."""
    with attempting("count documents", alias=target):
        return await engine.count(target)


async def find_versions(
    engine: SearchEngine, names: Sequence[DocumentName], *, seconds: float | None = None
) -> list[int | None]:
    """Return the version of each document, None where the document is missing or its version is unknown.

    `seconds` is the timeout of the request, if it differs from that of the engine.
    """
    if not names:
        return []
    with attempting("look at versions", alias=names[0].alias):
        documents = await engine.documents(names, source=False, seconds=seconds)
    return [each.version if isinstance(each, StoredDocument) else None for each in documents]


async def fetch_documents(
    engine: SearchEngine, names: Sequence[DocumentName], *, source: bool | Sequence[str] = True
) -> list[StoredDocument | None]:
    """Return the current state of each document, without a refresh; None for a missing document.

    `source` selects the whole source, none of it, or some of its fields.
    """
    if not names:
        return []
    with attempting("fetch documents", alias=names[0].alias):
        documents = await engine.documents(names, source=source)
    found: list[StoredDocument | None] = []
    for name, document in zip(names, documents, strict=True):
        if isinstance(document, Failure):
            raise error_of(document, "fetch a document", alias=name.alias, id=name.id)
        found.append(document)
    return found


async def fetch_source(engine: SearchEngine, name: DocumentName) -> Mapping[str, Any] | None:
    """Return the source of a document, None if the document or its index is missing."""
    with attempting("get the document", alias=name.alias):
        [document] = await engine.documents([name], source=True)
        if isinstance(document, Failure):
            if document.error_type == "index_not_found_exception":
                return None
            raise EngineError(document)
        if document is None:
            return None
        if document.source is None:
            raise broken_answer("the answer has an unexpected shape: _source is missing")
        return document.source


async def find_documents(
    engine: SearchEngine,
    alias: str,
    query: Mapping[str, Any] | None = None,
    *,
    part: tuple[int, int] | None = None,
    source: Sequence[str] = (),
    page: int = 1000,
    keep_alive: float = KEEP_ALIVE,
) -> AsyncGenerator[list[StoredDocument], None]:
    """Yield each document that matches a query, or every document, page by page, from one snapshot after a refresh.

    Only `_id`, the routing value, the version and the `source` fields are fetched. `part` is as in
    `SearchEngine.scan`, `keep_alive` limits the seconds between two pages. Nothing is omitted silently: a shard that
    does not answer is an error. Close an iteration that you abandon (`aclose`).
    """
    await refresh(engine, alias)
    scan = engine.scan(alias, query=query, part=part, source=source, page=page, keep_alive=keep_alive)
    with attempting("search for documents", alias=alias):
        async with aclosing(scan) as pages:
            async for found in pages:
                yield found


async def find_documents_with(
    engine: SearchEngine, alias: str, field: str, value: str, *, source: Sequence[str] = (), page: int = 1000
) -> AsyncGenerator[list[StoredDocument], None]:
    """Yield each document with this value in the keyword field, as `find_documents` does."""
    query = {"bool": {"filter": [{"term": {field: value}}]}}
    async with aclosing(find_documents(engine, alias, query, source=source, page=page)) as pages:
        async for found in pages:
            yield found


class DocumentWalk:
    """Every document behind an alias, or those that match `query`, from one snapshot after a refresh.

    `part` is a part's number and the number of parts: it selects only that part. All parts together are all documents.
    """

    def __init__(
        self,
        engine: SearchEngine,
        alias: str,
        *,
        source: Sequence[str] = (),
        page: int = 1000,
        part: tuple[int, int] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> None:
        self._engine = engine
        self._alias = alias
        self._source = list(source)
        self._page = page
        self._part = part
        self._query = query

    async def count(self) -> int:
        """Return the approximate number of documents."""
        counted = await count_documents(self._engine, self._alias)
        return counted // (1 if self._part is None else self._part[1])

    def pages(self) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield the documents page by page, as `find_documents` does."""
        return find_documents(
            self._engine,
            self._alias,
            self._query,
            part=self._part,
            source=self._source,
            page=self._page,
            keep_alive=_WALK_KEEP_ALIVE,
        )
