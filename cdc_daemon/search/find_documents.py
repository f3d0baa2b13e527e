"""Documents found in the index: all of them, or those of one partition by the key that each of them carries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import AsyncElasticsearch

from cdc_daemon.search.pages import find_pages

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
    search = {"query": query or {"match_all": {}}}
    async with aclosing(find_pages(client, alias, search, source=source, page=page, keep_alive=keep_alive)) as pages:
        async for hits in pages:
            yield [Sibling(hit["_id"], hit.get("_source", {}), hit.get("_routing"), hit["_version"]) for hit in hits]
