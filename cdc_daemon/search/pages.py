"""Pages of documents from one snapshot: a refresh, a point in time, and searches in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from cdc_daemon.model.errors import BrokenAnswerError, ElasticsearchUnavailableError
from cdc_daemon.search.answers import PAGE, POINT_IN_TIME, REFRESHED, Hit, read, required
from cdc_daemon.search.failure import told_apart

log = structlog.get_logger(__name__)


async def refresh(client: AsyncElasticsearch, index: str) -> None:
    """Refresh an index, or the indices behind an alias, so that searches see all writes.

    Call it inside `told_apart`. It also raises `ElasticsearchUnavailableError` if a shard failed to refresh.
    """
    refreshed = read(REFRESHED, await client.indices.refresh(index=index))
    _check_shards("refresh", index, failed=refreshed["_shards"]["failed"])


async def find_pages(
    client: AsyncElasticsearch,
    alias: str,
    search: Mapping[str, Any],
    *,
    source: Sequence[str],
    page: int,
    keep_alive: str,
) -> AsyncGenerator[list[Hit], None]:
    """Yield documents page by page, from one snapshot after a refresh, each with its version.

    `search` holds the query or the slice. Only the `source` fields are fetched. `keep_alive` limits the time between
    two pages. Nothing is omitted silently: a shard that does not answer is an error. Close an iteration that you
    abandon (`aclose`). Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    with told_apart("refresh", alias=alias):
        await refresh(client, alias)
    with told_apart("open a point in time", alias=alias):
        opened = await client.open_point_in_time(index=alias, keep_alive=keep_alive)
        point = read(POINT_IN_TIME, opened)["id"]
    after: list[Any] | None = None
    try:
        while True:
            with told_apart("search for documents", alias=alias):
                answer = await client.search(
                    pit={"id": point, "keep_alive": keep_alive},
                    source={"includes": list(source)} if source else False,
                    sort=[{"_shard_doc": "asc"}],
                    search_after=after,
                    size=page,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    version=True,
                    **search,
                )
                found = read(PAGE, answer)
                hits = found["hits"]["hits"]
                last = required(hits[-1].get("sort"), "sort") if hits else None
                if last is not None and last == after:
                    raise BrokenAnswerError("the answer repeats the page before it")
            _check_shards(
                "search for documents", alias, failed=found["_shards"]["failed"], late=found.get("timed_out", False)
            )
            point = found.get("pit_id", point)
            if hits:
                yield hits
            if len(hits) < page:
                return
            after = last
    finally:
        try:
            await client.close_point_in_time(id=point)
        except (ApiError, TransportError):
            log.debug("elasticsearch.point_in_time_left", expires=keep_alive)


def _check_shards(doing: str, index: str, *, failed: int, late: bool = False) -> None:
    if failed or late:
        raise ElasticsearchUnavailableError(
            f"could not {doing}: expected an answer of every shard, {failed} failed", alias=index
        )
