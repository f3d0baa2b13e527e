"""Which engine answers: asked once, and again after it was away, so that an upgrade is noticed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from cdc_daemon.search.engine import SearchEngine, StoredDocument
from cdc_daemon.search.engines.answers import MAIN_PAGE, read
from cdc_daemon.search.engines.client import ElasticsearchOptions, make_client, make_transport
from cdc_daemon.search.engines.elasticsearch import ElasticsearchEngine
from cdc_daemon.search.engines.opensearch import OpenSearchEngine
from cdc_daemon.search.engines.rest import Answer, Body, RestEngine
from cdc_daemon.search.failure import UNSUPPORTED_PRODUCT, EngineError, Failure

log = structlog.get_logger(__name__)

SUPPORTED = "Elasticsearch 7.10 to 9 and OpenSearch 1.3 to 3"
"""What the daemon speaks to, for messages."""

_ELASTICSEARCH = "Elasticsearch"
_OPENSEARCH = "OpenSearch"


class Product(NamedTuple):
    """An engine and its release, such as `2.19.5`."""

    name: str
    version: str

    @property
    def major(self) -> int:
        """The first number of the release; 0 if it has none."""
        first = self.version.partition(".")[0]
        return int(first) if first.isascii() and first.isdigit() and len(first) < 4 else 0

    @property
    def is_supported(self) -> bool:
        """Whether the daemon speaks to it."""
        if self.name == _OPENSEARCH:
            return 1 <= self.major <= 3
        if self.major == 7:
            minor = self.version.split(".")[1] if "." in self.version else ""
            return minor.isascii() and minor.isdigit() and int(minor) >= 10
        return 8 <= self.major <= 9


def make_engine(options: ElasticsearchOptions) -> SearchEngine:
    """Return the port to a cluster, without sending anything. Raises `ConfigError` if the options are invalid."""
    if options.flavor == "elasticsearch":
        return ElasticsearchEngine(make_client(options))
    if options.flavor == "opensearch":
        return OpenSearchEngine(make_transport(options))
    return DetectedEngine(options)


class DetectedEngine(RestEngine):
    """A `SearchEngine`: whichever engine answers.

    The first request is preceded by the question which one it is, and so is the first one after a failed connection.
    """

    def __init__(self, options: ElasticsearchOptions) -> None:
        self._options = options
        self._plain = OpenSearchEngine(make_transport(options))
        self._own: ElasticsearchEngine | None = None
        self._product: Product | None = None
        self._is_known = False

    @property
    def name(self) -> str:  # type: ignore[override]  # it is only known later
        """The name of the engine, for people."""
        return _ELASTICSEARCH if self._product is None else self._product.name

    async def close(self) -> None:
        """Close the connections."""
        await self._plain.close()
        if self._own is not None:
            await self._own.close()

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping as the engine that answers can have it."""
        return await (await self._find()).fit_mapping(mapping)

    async def scan(
        self,
        target: str,
        *,
        query: Mapping[str, Any] | None = None,
        part: tuple[int, int] | None = None,
        source: Sequence[str] = (),
        page: int = 1000,
        keep_alive: float = 60.0,
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield every document that matches a query, page by page, from one snapshot."""
        engine = await self._find()
        pages = engine.scan(target, query=query, part=part, source=source, page=page, keep_alive=keep_alive)
        try:
            async for found in pages:
                yield found
        finally:
            await pages.aclose()

    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, seconds: float | None
    ) -> Answer:
        engine = await self._find()
        try:
            return await engine._send(method, target, headers, body, seconds)
        except EngineError as error:
            # Another node, or another release, may answer next.
            self._is_known = self._is_known and error.failure.status != 0
            raise

    async def _find(self) -> RestEngine:
        if not self._is_known:
            product = await self._identify()
            if product != self._product:
                log.info("search.engine_found", engine=product.name, version=product.version)
            self._product, self._is_known = product, True
        assert self._product is not None
        if self._product.name == _OPENSEARCH or self._product.major == 7:
            return self._plain
        if self._own is None:
            self._own = ElasticsearchEngine(make_client(self._options))
        return self._own

    async def _identify(self) -> Product:
        """Return the product that answers. Raises `EngineError`, also for one that the daemon does not speak to."""
        answer = await self._plain.main_page()
        if answer.status in {401, 403}:
            # A login without the privilege `monitor`. Elasticsearch says its name in a header since 7.14.
            return Product(_ELASTICSEARCH if answer.product else _OPENSEARCH, "8" if answer.product else "2")
        version = read(MAIN_PAGE, answer.body)["version"]
        name = _OPENSEARCH if version.get("distribution") == "opensearch" else _ELASTICSEARCH
        product = Product(name, version["number"])
        if not product.is_supported:
            raise EngineError(
                Failure(200, UNSUPPORTED_PRODUCT, f"expected {SUPPORTED}, found {product.name} {product.version}")
            )
        return product
