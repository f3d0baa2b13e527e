"""The search port over OpenSearch, and over Elasticsearch 7, which OpenSearch descends from.

Their requests are the same. The client of Elasticsearch 8 refuses both, so that the transport below it is used alone:
it sends plain media types and does not care which product answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import structlog
from elastic_transport import AsyncTransport, TransportError
from elastic_transport.client_utils import DEFAULT

from cdc_daemon.search.engine import Product, StoredDocument
from cdc_daemon.search.engines.answers import PAGE, read, required
from cdc_daemon.search.engines.client import failure_of
from cdc_daemon.search.engines.field_types import with_flattened_as, without_indexed_vectors
from cdc_daemon.search.engines.ignored_values import without_ignored_term
from cdc_daemon.search.engines.main_page import ask_main_page
from cdc_daemon.search.engines.product import OPENSEARCH, flattened_type, read_product
from cdc_daemon.search.engines.rest import Answer, Body, RestEngine, hits_of
from cdc_daemon.search.failure import EngineError

log = structlog.get_logger(__name__)


class OpenSearchEngine(RestEngine):
    """A `SearchEngine`: a connection to a cluster of OpenSearch or of Elasticsearch 7. `name` says which."""

    def __init__(self, transport: AsyncTransport, *, name: str = OPENSEARCH) -> None:
        self._transport = transport
        self.name = name
        self.product: Product | None = None

    async def identify(self) -> Product:
        """Ask which engine answers, and return it. Raises `UnsupportedEngineError` and `EngineError`."""
        page = await ask_main_page(self._transport)
        self.product = read_product(page.status, page.body, is_elasticsearch=page.is_elasticsearch)
        self.name = self.product.name
        return self.product

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping with the types of fields that this release has."""
        return with_flattened_as(flattened_type(self.product), without_indexed_vectors(mapping))

    async def _pages(
        self, target: str, search: dict[str, Any], kept: str
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield the documents that a search finds, page by page, by scrolling.

        A point in time would need OpenSearch 2.4, and is not in the open-source build of Elasticsearch 7.
        """
        first = {**search, "query": without_ignored_term(search["query"]), "sort": ["_doc"]}
        parameters = {"scroll": kept, "allow_partial_search_results": False}
        answer = await self._ask("POST", [target, "_search"], parameters, first)
        scroll: str | None = None
        try:
            while True:
                found = read(PAGE, answer.body)
                scroll = required(found.get("_scroll_id"), "_scroll_id")
                documents = hits_of(found)
                if documents:
                    yield documents
                if len(documents) < search["size"]:
                    return
                answer = await self._ask("POST", ["_search", "scroll"], body={"scroll": kept, "scroll_id": scroll})
        finally:
            if scroll is not None:
                try:
                    await self._ask("DELETE", ["_search", "scroll"], body={"scroll_id": [scroll]}, allowed=(404,))
                except EngineError:
                    log.debug("elasticsearch.scroll_left", expires=kept)

    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, seconds: float | None
    ) -> Answer:
        timeout = DEFAULT if seconds is None else seconds
        try:
            meta, content = await self._transport.perform_request(
                method, target, headers=headers, body=body, request_timeout=timeout
            )
        except TransportError as error:
            raise EngineError(failure_of(error)) from None
        return Answer(meta.status, content)
