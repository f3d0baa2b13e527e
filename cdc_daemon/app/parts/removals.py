"""The part that updates documents after removals that the commit log does not contain."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals import expiry, table_watch
from cdc_daemon.sources.unlogged_removals.cdc_watch import CdcWatch
from cdc_daemon.sources.unlogged_removals.expiry import ExpiryWatch
from cdc_daemon.sources.unlogged_removals.sweep import Sweep
from cdc_daemon.sources.unlogged_removals.system_tables import SchemaRecordReader, TruncationRecordReader
from cdc_daemon.sources.unlogged_removals.table_watch import Policy, TableWatch
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

_JOINED = Policy("remove", "keep")
"""The policy for a table without its own documents, shown only in other tables' documents."""


class RequestReconcile(Protocol):
    """Requests a comparison of documents with their rows, durably."""

    async def __call__(
        self, table: TableName, reason: ReconcileReason = ReconcileReason.TABLE, since: int | None = None
    ) -> None:
        """Request it for a table's changes written at `since` (microseconds since epoch) or later."""
        ...


class RemovalsPart(Part):
    """Updates documents after tables are truncated, dropped or re-created, and after values expire."""

    name = "removals"

    def __init__(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
    ) -> None:
        settings, store = tables.settings, context.store
        session, contact_points = cassandra.session, settings.cassandra.contact_points
        shown_in = _shown_in(tables.mappings)
        reconcile = make_reconcile_request(tables.mappings, store)
        declared = {each.table: Policy(each.on_truncate, each.on_drop) for each in settings.mappings.values()}
        watch = TableWatch(
            {table: declared.get(table, _JOINED) for table in shown_in},
            schema=cassandra.schema,
            records=TruncationRecordReader(session, contact_points),
            states=store.table_states,
            sweep=Sweep(search.rows, pipeline.coalescer, pipeline.gate, counted=context.metrics.documents_swept.inc),
            flights=pipeline.coalescer,
            reconcile=reconcile,
            shown_in=shown_in,
            cdc=CdcWatch(SchemaRecordReader(session, contact_points), reconcile) if settings.tail else None,
            is_rekeyed=tables.keys.is_rekeyed,
        )
        expired = ExpiryWatch(
            store.expiries, sink=pipeline.coalescer, gate=pipeline.gate, count=context.metrics.rows_expired.inc
        )
        context.schedule.every(table_watch.INTERVAL, "truncated tables", watch.turn, rests=True)
        context.schedule.every(expiry.INTERVAL, "expired values", expired.turn, rests=True)
        self._expiries = store.expiries
        self._metrics = context.metrics

    def measure(self) -> None:
        """Update the gauge of values that will expire."""
        self._metrics.expiries_waiting.set(self._expiries.count)


def make_reconcile_request(mappings: Mapping[TableName, Iterable[DocumentMapping]], store: Store) -> RequestReconcile:
    """Return a function that durably requests a comparison of the tables that show a table with their indices."""
    shown_in = _shown_in(mappings)

    async def request(
        table: TableName, reason: ReconcileReason = ReconcileReason.TABLE, since: int | None = None
    ) -> None:
        requests = [
            ReconcileRequest(reason=reason, segment_id=0, since=since, keyspace=shown.keyspace, table=shown.table)
            for shown in shown_in.get(table, ())
        ]
        await asyncio.to_thread(store.reconcile_requests.add, requests)

    return request


def _shown_in(mappings: Mapping[TableName, Iterable[DocumentMapping]]) -> Mapping[TableName, Sequence[TableName]]:
    """Return, by table, the tables with documents that show its rows."""
    shown_in: dict[TableName, list[TableName]] = defaultdict(list)
    for table, several in mappings.items():
        for shown in sorted({table, *(joined for mapping in several for joined in mapping.related.tables)}):
            shown_in[shown].append(table)
    return shown_in
