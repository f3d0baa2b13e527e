"""The part that checks documents which a bulk request without an answer may still write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.documents import fetch_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.search.index_swap import AliasIndices, direct
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.sources.late_requests.watch import INTERVAL, SuspectWatch, VersionLookup
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.store.suspects import Suspect


class LateRequestsPart(Part):
    """Checks the documents that a bulk request without an answer may still write, until it no longer can."""

    name = "late-requests"

    def __init__(self, context: Context, tables: TablesPart, search: SearchPart, pipeline: PipelinePart) -> None:
        self._metrics = context.metrics
        self._suspects = context.store.suspects
        requests = context.store.reconcile_requests

        async def reconcile(table: TableName) -> None:
            request = ReconcileRequest(
                reason=ReconcileReason.LATE_REQUESTS, segment_id=0, keyspace=table.keyspace, table=table.table
            )
            await asyncio.to_thread(requests.add, [request])

        watch = SuspectWatch(
            self._suspects,
            look_through(search.engine, search.swap_watch),
            search.suspects.times,
            sink=pipeline.coalescer,
            gate=pipeline.gate,
            ready=lambda: search.writer.available,
            tables=tables.mappings,
            reconcile=reconcile,
            returned=context.metrics.documents_written_late.inc,
        )
        context.schedule.every(INTERVAL, "late requests", watch.turn, rests=True)

    def status(self) -> Mapping[str, Any]:
        """Return how many documents may still be written late."""
        return {"suspect_documents": self._suspects.count}

    def measure(self) -> None:
        """Update the gauge of documents that may still be written late."""
        self._metrics.suspect_documents.set(self._suspects.count)


def look_through(engine: SearchEngine, swap_watch: SwapWatch) -> VersionLookup:
    """Return a function that reads versions from the index that an alias writes to, and from the second one if any."""

    async def look(alias: str, suspects: Sequence[Suspect]) -> Sequence[int | None]:
        indices = _indices(alias, swap_watch.last.get(alias))
        found = [
            await fetch_documents(
                engine, [DocumentName(index, each.document, each.routing) for each in suspects], source=False
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
