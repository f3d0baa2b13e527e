"""Documents as they are in the index: some of them by their ids, or all of them one after another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from cdc_daemon.elastic.failure import told_apart
from cdc_daemon.elastic.versions import DocumentName
from cdc_daemon.errors import ElasticsearchUnavailableError

log = structlog.get_logger(__name__)

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
    found: list[StoredDocument | None] = []
    for name, document in zip(names, answer.body["docs"], strict=True):
        if "error" in document:
            raise ElasticsearchUnavailableError(
                f"could not fetch a document: {document['error'].get('type')}", alias=name.alias, id=name.id
            )
        found.append(
            StoredDocument(name.id, document.get("_routing"), document["_version"], document.get("_source"))
            if document.get("found")
            else None
        )
    return found


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
            answer = await self._client.count(index=self._alias)
        return int(answer.body["count"]) // (1 if self._part is None else self._part[1])

    async def pages(self) -> AsyncGenerator[list[StoredDocument], None]:
        """Return the documents page by page. An iteration that is broken off should be closed (`aclose`).

        Nothing is left out silently: a shard that does not answer is an error. Raises `ElasticsearchUnavailableError`
        and `ElasticsearchRefusedError`.
        """
        client, alias = self._client, self._alias
        with told_apart("open a point in time", alias=alias):
            await client.indices.refresh(index=alias)
            opened = await client.open_point_in_time(index=alias, keep_alive=KEEP_ALIVE)
        point = str(opened.body["id"])
        after: list[Any] | None = None
        try:
            while True:
                with told_apart("walk through documents", alias=alias):
                    answer = await client.search(
                        pit={"id": point, "keep_alive": KEEP_ALIVE},
                        slice=None if self._part is None else {"id": self._part[0], "max": self._part[1]},
                        source={"includes": self._source} if self._source else False,
                        sort=[{"_shard_doc": "asc"}],
                        search_after=after,
                        size=self._page,
                        version=True,
                        track_total_hits=False,
                        allow_partial_search_results=False,
                    )
                point = str(answer.body.get("pit_id", point))
                hits = answer.body["hits"]["hits"]
                if hits:
                    yield [
                        StoredDocument(hit["_id"], hit.get("_routing"), hit["_version"], hit.get("_source"))
                        for hit in hits
                    ]
                if len(hits) < self._page:
                    return
                after = hits[-1]["sort"]
        finally:
            try:
                await client.close_point_in_time(id=point)
            except (ApiError, TransportError):
                log.debug("elasticsearch.point_in_time_left", expires=KEEP_ALIVE)
