"""The search port over Elasticsearch 8 and 9, by its own client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import structlog
from elasticsearch import ApiError, AsyncElasticsearch

from cdc_daemon.search.engine import Product, StoredDocument
from cdc_daemon.search.engines.answers import PAGE, POINT_IN_TIME, read, required
from cdc_daemon.search.engines.client import translated
from cdc_daemon.search.engines.product import (
    ELASTICSEARCH,
    NO_ENGINE,
    NOT_ALLOWED,
    has_own_client,
    read_product,
    refuse_other_servers,
)
from cdc_daemon.search.engines.rest import Answer, Body, RestEngine, hits_of
from cdc_daemon.search.failure import EngineError, UnsupportedEngineError, broken_answer, is_foreign

log = structlog.get_logger(__name__)

_EXPECTED = "Elasticsearch 8 or 9 (flavor: elasticsearch)"


class ElasticsearchEngine(RestEngine):
    """A `SearchEngine`: a connection to a cluster of Elasticsearch 8 or 9."""

    name = ELASTICSEARCH

    def __init__(self, client: AsyncElasticsearch) -> None:
        self._client = client
        self._within: dict[float, AsyncElasticsearch] = {}
        self.product: Product | None = None

    async def identify(self) -> Product:
        """Ask which release answers, and return it. Raises `UnsupportedEngineError` and `EngineError`."""
        try:
            answer = await self._ask("GET", [], allowed=NOT_ALLOWED)
        except EngineError as error:
            if not is_foreign(error.failure) and error.failure.status not in NO_ENGINE:
                raise
            raise UnsupportedEngineError(f"expected {_EXPECTED}, found another server", certain=False) from None
        refuse_other_servers(answer.status, answer.body)
        product = read_product(answer.status, answer.body, is_elasticsearch=True)
        if not has_own_client(product):
            raise UnsupportedEngineError(f"expected {_EXPECTED}, found {product}")
        self.product = product
        return product

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _pages(
        self, target: str, search: dict[str, Any], kept: str
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield the documents that a search finds, page by page, from one point in time."""
        opened = await self._ask("POST", [target, "_pit"], {"keep_alive": kept})
        point = read(POINT_IN_TIME, opened.body)["id"]
        search = {**search, "sort": [{"_shard_doc": "asc"}], "track_total_hits": False}
        after: list[Any] | None = None
        try:
            while True:
                search["pit"] = {"id": point, "keep_alive": kept}
                if after is not None:
                    search["search_after"] = after
                answer = await self._ask("POST", ["_search"], {"allow_partial_search_results": False}, search)
                found = read(PAGE, answer.body)
                hits = found["hits"]["hits"]
                last = required(hits[-1].get("sort"), "sort") if hits else None
                if last is not None and last == after:
                    raise broken_answer("the answer repeats the page before it")
                documents = hits_of(found)
                point = found.get("pit_id", point)
                if documents:
                    yield documents
                if len(documents) < search["size"]:
                    return
                after = last
        finally:
            try:
                await self._ask("DELETE", ["_pit"], body={"id": point}, allowed=(404,))
            except EngineError:
                log.debug("elasticsearch.point_in_time_left", expires=kept)

    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, seconds: float | None
    ) -> Answer:
        client = self._client if seconds is None else self._client_within(seconds)
        with translated():
            try:
                answer = await client.perform_request(method, target, headers=headers, body=body)
            except ApiError as error:
                if 200 <= error.meta.status < 300:
                    raise  # what answers is not Elasticsearch
                return Answer(error.meta.status, error.body)
        return Answer(answer.meta.status, answer.body)

    def _client_within(self, seconds: float) -> AsyncElasticsearch:
        """Return the client with this request timeout. There are only a few different ones."""
        client = self._within.get(seconds)
        if client is None:
            client = self._within[seconds] = self._client.options(request_timeout=seconds)
        return client
