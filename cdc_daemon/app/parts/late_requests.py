"""Builds the parts that record and check suspects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager

from cdc_daemon.config import ElasticsearchSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.search.documents import fetch_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.search.index_swap import AliasIndices, direct
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.sources.late_requests.recorder import SuspectRecorder, Times
from cdc_daemon.sources.late_requests.watch import Look, SuspectWatch
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.store.suspects import Suspect


@asynccontextmanager
async def recording(store: Store, settings: ElasticsearchSettings, remembered: float) -> AsyncIterator[SuspectRecorder]:
    """Record suspects during a block; send requests only inside it. Raises `StoreError`.

    `remembered` (seconds) is the shortest time for which any index remembers deletions.
    """
    times = Times.of(remembered=remembered, limit=settings.late_request_limit)
    bound = await asyncio.to_thread(store.clock_bound)
    recorder = await asyncio.to_thread(SuspectRecorder, store.suspects, times, bound=bound)
    try:
        yield recorder
    finally:
        await asyncio.to_thread(recorder.close)


def make_watch(
    store: Store,
    times: Times,
    *,
    client: SearchEngine,
    pairs: SwapWatch,
    sink: BackgroundSink,
    gate: Gate,
    ready: Callable[[], bool],
    tables: Container[TableName],
    returned: Callable[[int], object],
) -> SuspectWatch:
    """Return the watch that checks suspects."""

    async def reconcile(table: TableName) -> None:
        request = ReconcileRequest(
            reason=ReconcileReason.LATE_REQUESTS, segment_id=0, keyspace=table.keyspace, table=table.table
        )
        await asyncio.to_thread(store.reconcile_requests.add, [request])

    return SuspectWatch(
        store.suspects,
        look_through(client, pairs),
        times,
        sink=sink,
        gate=gate,
        ready=ready,
        tables=tables,
        reconcile=reconcile,
        returned=returned,
    )


def look_through(client: SearchEngine, pairs: SwapWatch) -> Look:
    """Return a function that reads versions from the index that an alias writes to, and from the second one if any."""

    async def look(alias: str, suspects: Sequence[Suspect]) -> Sequence[int | None]:
        indices = _indices(alias, pairs.last.get(alias))
        found = [
            await fetch_documents(
                client, [DocumentName(index, each.document, each.routing) for each in suspects], source=False
            )
            for index in indices
        ]
        return [
            min((document.version for document in documents if document is not None), default=None)
            for documents in zip(*found, strict=True)
        ]

    return look


def _indices(alias: str, pair: AliasIndices | None) -> list[str]:
    if pair is None:
        return [alias]
    other = [direct(pair.other)] if pair.both_written and pair.other is not None else []
    return [pair.live or alias, *other]
