"""The versions that documents have, many at once and without a refresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch

from cdc_daemon.elastic.failure import told_apart


class DocumentName(NamedTuple):
    """Where a document is."""

    alias: str
    id: str
    routing: str | None = None


async def find_versions(client: AsyncElasticsearch, names: Sequence[DocumentName]) -> list[int | None]:
    """Return the version of each document, None where there is none or it cannot be told.

    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-multi-get.html
    """
    if not names:
        return []
    wanted: list[dict[str, Any]] = [
        {"_index": name.alias, "_id": name.id, **({} if name.routing is None else {"routing": name.routing})}
        for name in names
    ]
    with told_apart("look at versions", alias=names[0].alias):
        answer = await client.mget(docs=wanted, source=False)
    return [found["_version"] if found.get("found") else None for found in answer.body["docs"]]
