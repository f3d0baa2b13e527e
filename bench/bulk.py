"""Documents a second of the bulk writer, compared with the ceiling: prebuilt `_bulk` bodies over bare connections."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from elasticsearch import AsyncElasticsearch

from bench.figures import Figures
from cdc_daemon.search import (
    BulkLimits,
    BulkWriter,
    ElasticsearchOptions,
    IndexDefinition,
    IndexManager,
    Operation,
    Outcome,
)
from cdc_daemon.search.bulk_body import split
from cdc_daemon.search.bulk_results import BulkResults, Clocks
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engines.client import make_client
from cdc_daemon.search.engines.elasticsearch import ElasticsearchEngine

ALIAS = "bench-bulk"
INDEX = "bench-bulk-1"
PER_REQUEST = 1000
CONNECTIONS = 4
VERSION = 1_700_000_000_000_000

_MAPPINGS = {
    "properties": {
        "id": {"type": "keyword"},
        "age": {"type": "integer"},
        **{f"field{number}": {"type": "keyword"} for number in range(14)},
    }
}


@dataclass(frozen=True, slots=True)
class BulkFigures:
    """What was measured: documents a second, and processor microseconds of this process a document.

    `ratios` are those of the runs next to each other, ours to the ceiling's. `own_code` is the writer's own
    work alone: splitting, action lines, joining and settling, without client, sockets and answer.
    """

    writer: Figures
    ceiling: Figures
    ratios: Figures
    writer_cpu: Figures
    ceiling_cpu: Figures
    own_code: Figures
    document_bytes: float


def make_documents(count: int) -> list[tuple[str, bytes]]:
    """Make user rows of 16 columns, keyed by a uuid, about 650 bytes as JSON."""
    documents = []
    for number in range(count):
        key = str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
        source: dict[str, Any] = {"id": key, "age": number % 90}
        source |= {f"field{column}": f"{key[: 8 + column]}-{number % 997}-value" for column in range(14)}
        documents.append((key, orjson.dumps(source)))
    return documents


WARM_UPS = 3
"""Runs of each side that do not count: the first ones measure the server's Java compiler."""


async def measure(url: str, *, documents: int, runs: int) -> BulkFigures:
    """Measure both in alternation, each time into a fresh index, after `WARM_UPS` runs of each."""
    rows = make_documents(documents)
    bodies = prebuild(rows)
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    options = ElasticsearchOptions((url,), connections=CONNECTIONS)
    async with make_client(options) as client:
        engine = ElasticsearchEngine(client)
        try:
            for run in range(runs + WARM_UPS):
                for side in ("ours", "bare") if run % 2 else ("bare", "ours"):
                    await renew_index(client, engine)
                    elapsed = await run_writer(engine, rows) if side == "ours" else await run_bare(url, bodies)
                    await check(client, documents)
                    (ours if side == "ours" else bare).append(elapsed)
        finally:
            await client.options(ignore_status=404).indices.delete(index=INDEX)
    del ours[:WARM_UPS], bare[:WARM_UPS]
    return BulkFigures(
        writer=Figures([documents / wall for wall, _ in ours]),
        ceiling=Figures([documents / wall for wall, _ in bare]),
        ratios=Figures([theirs / mine for (mine, _), (theirs, _) in zip(ours, bare, strict=True)]),
        writer_cpu=Figures([cpu * 1e6 / documents for _, cpu in ours]),
        ceiling_cpu=Figures([cpu * 1e6 / documents for _, cpu in bare]),
        own_code=Figures([time_own_code(rows) for _ in range(max(runs, 3))]),
        document_bytes=sum(len(body) for _, body in rows) / len(rows),
    )


def prebuild(rows: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Build the bodies of the ceiling's requests, which hold what ours hold."""
    operations = make_operations(rows)
    known = BulkResults(operations)
    batches = split(operations, known.results, documents=PER_REQUEST, size=1 << 30)
    return [batch.encode(operations)[0] for batch in batches]


def make_operations(rows: Sequence[tuple[str, bytes]]) -> list[Operation]:
    """Make an operation of each document, as the pipeline would."""
    built = time.monotonic()
    return [Operation(ALIAS, key, VERSION, body, built) for key, body in rows]


async def renew_index(client: AsyncElasticsearch, engine: SearchEngine) -> None:
    """Delete the index and create it empty."""
    await client.options(ignore_status=404).indices.delete(index=INDEX)
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "30s"}
    await IndexManager(engine).ensure(IndexDefinition(ALIAS, INDEX, settings, _MAPPINGS))


async def run_writer(engine: SearchEngine, rows: Sequence[tuple[str, bytes]]) -> tuple[float, float]:
    """Write all documents with the bulk writer; return wall and processor seconds."""
    limits = BulkLimits(documents=PER_REQUEST, connections=CONNECTIONS)
    writer = BulkWriter(engine, limits=limits)
    operations = make_operations(rows)
    wall, cpu = time.perf_counter(), time.process_time()
    results = await writer.write(operations)
    elapsed = time.perf_counter() - wall, time.process_time() - cpu
    await writer.close()
    assert all(result.outcome is Outcome.INDEXED for result in results)
    return elapsed


async def run_bare(url: str, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Send the prebuilt bodies over bare connections; return wall and processor seconds."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        work = iter(bodies)

        async def send() -> None:
            for body in work:
                async with session.post(
                    "/_bulk?require_alias=true&filter_path=errors",
                    data=body,
                    headers={"Content-Type": "application/x-ndjson"},
                ) as answer:
                    assert await answer.read() == b'{"errors":false}'

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
        return time.perf_counter() - wall, time.process_time() - cpu


async def check(client: AsyncElasticsearch, documents: int) -> None:
    """Check that every document is there: losing some faster is no result."""
    await client.indices.refresh(index=ALIAS)
    found = await client.count(index=ALIAS)
    assert found["count"] == documents, f"expected {documents} documents, found {found['count']}"


def time_own_code(rows: Sequence[tuple[str, bytes]]) -> float:
    """Return the microseconds a document that the writer's own code takes."""
    operations = make_operations(rows)
    started = time.perf_counter()
    known = BulkResults(operations)
    for batch in split(operations, known.results, documents=PER_REQUEST, size=4 << 20):
        _, guards = batch.encode(operations)
        known.without_stale(batch, built_after=0.0)
        known.record(batch, guards, None, Clocks(VERSION, 1_000_000))
    return (time.perf_counter() - started) * 1e6 / len(operations)
