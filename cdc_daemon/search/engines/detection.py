"""Which engine answers: asked once, and again after it was away, so that an upgrade is noticed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import structlog

from cdc_daemon.search.engine import DocumentName, Product, SearchEngine, StoredDocument
from cdc_daemon.search.engines.api_keys import ApiKeyCheck
from cdc_daemon.search.engines.client import ElasticsearchOptions, make_client, make_transport
from cdc_daemon.search.engines.elasticsearch import ElasticsearchEngine
from cdc_daemon.search.engines.opensearch import OpenSearchEngine
from cdc_daemon.search.engines.product import has_own_client
from cdc_daemon.search.engines.rest import Answer, Body, RestEngine, failure_in
from cdc_daemon.search.failure import EngineError, Failure, UnsupportedEngineError, is_foreign

log = structlog.get_logger(__name__)


def make_engine(options: ElasticsearchOptions) -> SearchEngine:
    """Return the port to a cluster, without sending anything. Raises `ConfigError` if the options are invalid."""
    if options.flavor == "elasticsearch":
        return ElasticsearchEngine(make_client(options))
    if options.flavor == "opensearch" and options.api_key is None:
        return OpenSearchEngine(make_transport(options))
    return DetectedEngine(options)


class DetectedEngine(RestEngine):
    """A `SearchEngine`: whichever engine answers.

    The first request is preceded by the question which one it is. So is the first one after a failed connection, and
    after an answer that refuses the client.
    """

    def __init__(self, options: ElasticsearchOptions) -> None:
        self.product: Product | None = None
        self._options = options
        self._plain = OpenSearchEngine(make_transport(options))
        self._check_key: ApiKeyCheck | None = None
        if options.api_key is not None:
            self._check_key = ApiKeyCheck(options.api_key, make_transport(replace(options, api_key=None)))
        self._own: ElasticsearchEngine | None = None
        self._is_known = False

    @property
    def name(self) -> str:  # type: ignore[override]  # it is only known later
        """The name of the engine, for people."""
        return "the search engine" if self.product is None else self.product.name

    async def identify(self) -> Product:
        """Ask which engine answers, and use the client for it from now on; return it.

        Raises `UnsupportedEngineError` and `EngineError`.
        """
        try:
            if self._check_key is not None:
                await self._check_key()
            product = await self._plain.identify()
        except UnsupportedEngineError:
            self._is_known = False
            raise
        if product != self.product:
            before = None if self.product is None else str(self.product)
            log.info("search.engine_found", engine=product.name, version=product.version or "unknown", before=before)
        self.product, self._is_known = product, True
        return product

    async def close(self) -> None:
        """Close the connections."""
        await self._plain.close()
        if self._check_key is not None:
            await self._check_key.close()
        if self._own is not None:
            await self._own.close()

    async def documents(
        self, names: Sequence[DocumentName], *, source: bool | Sequence[str], seconds: float | None = None
    ) -> list[StoredDocument | Failure | None]:
        """Return the current state of each document, without a refresh. How to ask depends on the release."""
        await self._find()
        return await super().documents(names, source=source, seconds=seconds)

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping as the engine that answers can have it."""
        return await (await self._find()).fit_mapping(mapping)

    async def _pages(
        self, target: str, search: dict[str, Any], kept: str
    ) -> AsyncGenerator[list[StoredDocument], None]:
        engine = await self._find()
        async with aclosing(engine._pages(target, search, kept)) as pages:
            async for found in pages:
                yield found

    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, seconds: float | None
    ) -> Answer:
        try:
            engine = await self._find()
        except EngineError as error:
            # Only the question which engine answers was sent, not the request.
            raise EngineError(replace(error.failure, sent=False)) from None
        try:
            answer = await engine._send(method, target, headers, body, seconds)
        except EngineError as error:
            # Another node, or another release, may answer next.
            self._is_known = self._is_known and error.failure.status != 0 and not is_foreign(error.failure)
            raise
        if answer.status in {400, 406} and is_foreign(failure_in(answer)):
            self._is_known = False
        return answer

    async def _find(self) -> RestEngine:
        if self.product is None or not self._is_known:
            product = await self.identify()
        else:
            product = self.product
        if self._options.flavor == "opensearch" or not has_own_client(product):
            return self._plain
        if self._own is None:
            self._own = ElasticsearchEngine(make_client(self._options))
        return self._own
