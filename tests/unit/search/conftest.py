from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.search import (
    BulkLimits,
    BulkWriter,
    ElasticsearchOptions,
    Operation,
    ProbePauses,
    RetryReason,
    make_engine,
)
from cdc_daemon.search.alias_troubles import Prepare, prepare_nothing
from cdc_daemon.search.engine import SearchEngine
from tests.unit.search.fake import FakeElasticsearch

NOW = 1_700_000_000_000_000
"""The wall clock of these tests, in microseconds since epoch."""

QUICK = BulkLimits(
    request_timeout=5.0,
    retry_pause=0.002,
    longest_retry_pause=0.01,
    probe_pauses=ProbePauses(first=0.005, down=0.02, refused=0.03),
)


class Observed:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.bulks: list[tuple[float, int, int]] = []
        self.retries: Counter[RetryReason] = Counter()
        self.changes: list[bool] = []

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        self.bulks.append((seconds, documents, size))

    def retried(self, reason: RetryReason, count: int) -> None:
        self.retries[reason] += count

    def availability_changed(self, *, available: bool) -> None:
        self.changes.append(available)


class Bench:
    """A bulk writer on a fake Elasticsearch, and what the writer tells."""

    def __init__(self, server: FakeElasticsearch, engine: SearchEngine) -> None:
        self.server = server
        self.engine = engine
        self.observed = Observed()
        self.monotonic_offset = 0.0
        self.writers: list[BulkWriter] = []

    def monotonic(self) -> float:
        return time.monotonic() + self.monotonic_offset

    def writer(
        self, *, prepare: Prepare = prepare_nothing, versions: HybridClock | None = None, **limits: object
    ) -> BulkWriter:
        writer = BulkWriter(
            self.engine,
            limits=replace(QUICK, **limits),  # type: ignore[arg-type]
            observer=self.observed,
            prepare=prepare,
            clock=self.monotonic,
            now=lambda: NOW,
            versions=versions,
        )
        self.writers.append(writer)
        return writer

    def index(self, document_id: str, version: int = NOW, *, alias: str = "users") -> Operation:
        return Operation(alias, document_id, version, b'{"a":1}', self.monotonic())

    def delete(self, document_id: str, version: int = NOW, *, alias: str = "users") -> Operation:
        return Operation(alias, document_id, version, None, self.monotonic())


async def wait_back(writer: BulkWriter) -> None:
    """Wait until every alias takes writes again."""
    async with asyncio.timeout(10):
        while writer.troubled:  # noqa: ASYNC110 -- the writer tells one listener, which may be another
            await asyncio.sleep(0.001)


@pytest.fixture
async def server() -> AsyncIterator[FakeElasticsearch]:
    server = FakeElasticsearch()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def engine(server: FakeElasticsearch) -> AsyncIterator[SearchEngine]:
    engine = make_engine(ElasticsearchOptions((server.url,)))
    yield engine
    await engine.close()


@pytest.fixture
async def bench(server: FakeElasticsearch, engine: SearchEngine) -> AsyncIterator[Bench]:
    bench = Bench(server, engine)
    yield bench
    for writer in bench.writers:
        await writer.close()
