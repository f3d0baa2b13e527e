"""Documents found in the index: all of them, or those of one partition by the key that each of them carries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from cdc_daemon.elastic.failure import told_apart
from cdc_daemon.errors import ElasticsearchUnavailableError

log = structlog.get_logger(__name__)

KEEP_ALIVE = "1m"
"""How long Elasticsearch keeps the point in time between two pages."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A document found: its `_id`, the asked fields of its source, its routing value if it has one, its version."""

    id: str
    source: Mapping[str, Any]
    routing: str | None = None
    version: int = field(default=0, compare=False)


async def find_siblings(
    client: AsyncElasticsearch,
    alias: str,
    field: str,
    value: str,
    *,
    source: Sequence[str] = (),
    page: int = 1000,
) -> AsyncGenerator[list[Sibling], None]:
    """Find each document whose keyword field has the value, page by page, as of one moment after a refresh.

    Only `_id`, the routing value and the `source` fields are fetched. Nothing is left out silently: a shard
    that does not answer is an error. An iteration that is broken off should be closed (`aclose`).
    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    query = {"bool": {"filter": [{"term": {field: value}}]}}
    async with aclosing(find_documents(client, alias, query, source=source, page=page)) as pages:
        async for found in pages:
            yield found


async def find_documents(
    client: AsyncElasticsearch,
    alias: str,
    query: Mapping[str, Any] | None = None,
    *,
    source: Sequence[str] = (),
    page: int = 1000,
    keep_alive: str = KEEP_ALIVE,
) -> AsyncGenerator[list[Sibling], None]:
    """Find each document that a query matches, or every one, page by page, as of one moment after a refresh.

    `keep_alive` bounds the time that may pass between two pages. Otherwise as `find_siblings`.
    """
    with told_apart("refresh", alias=alias):
        refreshed = await client.indices.refresh(index=alias)
        _check_shards(refreshed.body, "refresh", alias)
        opened = await client.open_point_in_time(index=alias, keep_alive=keep_alive)
    point = str(opened.body["id"])
    try:
        after: list[Any] | None = None
        while True:
            with told_apart("search for documents", alias=alias):
                answer = await client.search(
                    pit={"id": point, "keep_alive": keep_alive},
                    query=query or {"match_all": {}},
                    source={"includes": list(source)} if source else False,
                    sort=[{"_shard_doc": "asc"}],
                    search_after=after,
                    size=page,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    version=True,
                )
            _check_shards(answer.body, "search for documents", alias)
            point = str(answer.body.get("pit_id", point))
            hits = answer.body["hits"]["hits"]
            if hits:
                yield [
                    Sibling(hit["_id"], hit.get("_source") or {}, hit.get("_routing"), hit.get("_version", 0))
                    for hit in hits
                ]
            if len(hits) < page:
                return
            after = hits[-1]["sort"]
    finally:
        await _close(client, point)


def _check_shards(answer: Mapping[str, Any], doing: str, alias: str) -> None:
    failed = answer.get("_shards", {}).get("failed", 0)
    if failed or answer.get("timed_out"):
        raise ElasticsearchUnavailableError(
            f"could not {doing}: expected an answer of every shard, {failed} failed", alias=alias
        )


async def _close(client: AsyncElasticsearch, point: str) -> None:
    try:
        await client.close_point_in_time(id=point)
    except (ApiError, TransportError):
        log.debug("elasticsearch.point_in_time_left", expires=KEEP_ALIVE)
