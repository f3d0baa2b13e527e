"""Searches for documents in the index: all of them, or those of one partition by its key in each document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import AsyncElasticsearch

from cdc_daemon.search.pages import find_pages

KEEP_ALIVE = "1m"
"""The keep-alive of the point in time between two pages."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A found document: its `_id`, the requested fields of its source, its routing value if any, its version."""

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
    """Yield each document with this value in the keyword field, page by page, from one snapshot after a refresh.

    Only `_id`, the routing value and the `source` fields are fetched. Nothing is omitted silently: a shard
    that does not answer is an error. Close an iteration that you abandon (`aclose`).
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
    """Yield each document that matches a query, or every document, page by page, from one snapshot after a refresh.

    `keep_alive` limits the time between two pages. Otherwise as `find_siblings`.
    """
    search = {"query": query or {"match_all": {}}}
    async with aclosing(find_pages(client, alias, search, source=source, page=page, keep_alive=keep_alive)) as pages:
        async for hits in pages:
            yield [Sibling(hit["_id"], hit.get("_source", {}), hit.get("_routing"), hit["_version"]) for hit in hits]
