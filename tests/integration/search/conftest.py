from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.version_clock import wall_clock
from cdc_daemon.search import (
    BulkLimits,
    BulkWriter,
    ElasticsearchOptions,
    IndexDefinition,
    IndexManager,
    Operation,
    ProbePauses,
)
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engines.detection import make_engine
from sandbox import Sandbox
from sandbox.search_client import make_async_search_client

QUICK = BulkLimits(request_timeout=10.0, probe_pauses=ProbePauses(first=0.02, down=0.2, refused=0.2))

MAPPINGS = {"dynamic": "strict", "properties": {"name": {"type": "keyword"}, "age": {"type": "integer"}}}


@dataclass(frozen=True)
class Index:
    """An alias with an index behind it, and how to write and read it."""

    client: AsyncElasticsearch
    engine: SearchEngine
    alias: str
    name: str

    def definition(self, **settings: Any) -> IndexDefinition:
        return IndexDefinition(
            self.alias,
            self.name,
            settings={"number_of_replicas": 0, "number_of_shards": 1} | settings,
            mappings=MAPPINGS,
            extra_properties={"_partition": {"type": "keyword"}},
        )

    async def ensure(self, **settings: Any) -> None:
        await IndexManager(self.engine).ensure(self.definition(**settings))

    def write(self, key: str, version: int | None = None, **source: Any) -> Operation:
        body = orjson.dumps(source or {"name": key})
        return Operation(self.alias, key, wall_clock() if version is None else version, body, time.monotonic())

    def delete(self, key: str, version: int | None = None) -> Operation:
        return Operation(self.alias, key, wall_clock() if version is None else version, None, time.monotonic())

    async def get(self, key: str) -> tuple[int, dict[str, Any]] | None:
        """Return version and source of a document, or None."""
        found = await self.client.options(ignore_status=404).get(index=self.alias, id=key)
        return (found["_version"], found["_source"]) if found["found"] else None

    async def keys(self) -> set[str]:
        await self.client.indices.refresh(index=self.alias)
        found = await self.client.search(index=self.alias, size=10_000, source=False)
        return {hit["_id"] for hit in found["hits"]["hits"]}


@asynccontextmanager
async def connected(box: Sandbox) -> AsyncIterator[SearchEngine]:
    """Give the daemon's connection to whichever engine the sandbox has."""
    engine = make_engine(ElasticsearchOptions((box.elasticsearch.url,), flavor="auto"))
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
async def client(box: Sandbox) -> AsyncIterator[AsyncElasticsearch]:
    async with make_async_search_client(box.elasticsearch.url) as client:
        yield client


@pytest.fixture
async def engine(box: Sandbox) -> AsyncIterator[SearchEngine]:
    async with connected(box) as engine:
        yield engine


@pytest.fixture
async def index(client: AsyncElasticsearch, engine: SearchEngine, index_prefix: str) -> Index:
    index = Index(client, engine, f"{index_prefix}alias", f"{index_prefix}1")
    await index.ensure()
    return index


@pytest.fixture
async def make_writer() -> AsyncIterator[Callable[..., BulkWriter]]:
    """Make bulk writers that are closed after the test."""
    writers: list[BulkWriter] = []

    def make(engine: SearchEngine, limits: BulkLimits = QUICK, **more: Any) -> BulkWriter:
        writers.append(BulkWriter(engine, limits=limits, **more))
        return writers[-1]

    yield make
    for writer in writers:
        await writer.close()


@pytest.fixture
def writer(make_writer: Callable[..., BulkWriter], engine: SearchEngine) -> BulkWriter:
    return make_writer(engine)
