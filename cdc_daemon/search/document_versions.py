"""Look-up of the versions of many documents at once, without a refresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from elastic_transport import ApiResponse
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import BrokenAnswerError
from cdc_daemon.search.answers import MULTI_GET, Got, is_found, read, required
from cdc_daemon.search.failure import told_apart


class DocumentName(NamedTuple):
    """The location of a document."""

    alias: str
    id: str
    routing: str | None = None


async def find_versions(client: AsyncElasticsearch, names: Sequence[DocumentName]) -> list[int | None]:
    """Return the version of each document, None where the document is missing or its version is unknown.

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
        documents = documents_of(await client.mget(docs=wanted, source=False), len(names))
        return [
            required(each.get("_version"), "_version") if "error" not in each and is_found(each) else None
            for each in documents
        ]


def documents_of(answer: ApiResponse[Any], count: int) -> list[Got]:
    """Return the documents of a multi-get of that many names. Raises `BrokenAnswerError`."""
    documents = read(MULTI_GET, answer)["docs"]
    if len(documents) != count:
        raise BrokenAnswerError(
            f"the answer has an unexpected shape: expected {count} documents, found {len(documents)}"
        )
    return documents
