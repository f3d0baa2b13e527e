"""The part that reads the rows of changed keys, and writes their documents."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from cdc_daemon.app.part import Context, Part, run_together
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart, make_mapping
from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.document.documents import DroppedDocuments, MappedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.dead_documents import DeadDocuments
from cdc_daemon.pipeline.document_writer import DocumentWriter
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.metrics import FlowMetrics, PipelineMetrics
from cdc_daemon.pipeline.partition_expansion import Expansion, PartitionDocuments
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.routing import Followed, Router, related_of
from cdc_daemon.pipeline.row_processor import RowProcessor
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.pipeline.unreadable import UnreadablePartitions, UnreadableRows
from cdc_daemon.search.swap_watch import SwapFields
from cdc_daemon.sources.dependents.finders import make_finders
from cdc_daemon.sources.dependents.refresher import StoredChangedRows
from cdc_daemon.sources.schema_changes.mappings import LiveMappings, SchemaFollower, read_again
from cdc_daemon.sources.schema_changes.primary_keys import KeyCheckedReader
from cdc_daemon.sources.unlogged_removals.expiry import ExpiryTracker
from cdc_daemon.telemetry.tracing import ChangeTracer, make_tracer


@asynccontextmanager
async def tracing(context: Context) -> AsyncIterator[ChangeTracer | None]:
    """Trace changes during a block, if tracing is configured. Raises `ConfigError`."""
    tracer = make_tracer(context.settings.tracing, node=socket.gethostname())
    try:
        yield tracer
    finally:
        if tracer is not None:
            await asyncio.to_thread(tracer.close)


class PipelinePart(Part):
    """The pipeline, and the gate at which an operator pauses its sources.

    `reader` reads rows, `follower` updates mappings and indices to the schema, and `documents` builds documents from
    the rows. `dead` are the documents that were set aside as dead letters. `dependents` is the queue of changed rows
    whose documents `finders` find.
    """

    name = "pipeline"

    def __init__(
        self,
        context: Context,
        tracer: ChangeTracer | None,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        *,
        dead: DeadDocuments,
    ) -> None:
        settings, mappings, schema, store = tables.settings, tables.mappings, cassandra.schema, context.store
        self.coalescer = Coalescer(limit=settings.pipeline.pending_limit)
        search.writer.on_troubles_changed(self.coalescer.unpark)
        self.clock = search.clock
        self.documents = MappedDocuments(mappings)
        self.server_waits = ServerWaits()
        rows = CassandraRowReader(
            cassandra.session,
            schema,
            self.clock,
            keys_per_query=settings.cassandra.keys_per_query,
            concurrent_queries=settings.cassandra.concurrent_queries,
            answered=cassandra.availability.answered,
        )
        joined = JoinedRowReader(rows, schema, related_of(mappings))
        self.reader = KeyCheckedReader(joined, tables.keys)
        self.follower = self._follow_schema(joined, cassandra, tables, search)
        self.dead = dead
        self.dependents = StoredChangedRows(store.dependents)
        self.finders = make_finders(tables.listed, schema.table, session=cassandra.session, rows=search.rows)
        self._observer = PipelineMetrics(context.metrics, tracer, tables.aliases)
        self.pipeline = self._build_pipeline(context, cassandra, tables, search)
        self.gate = Gate(self.coalescer)
        self._metrics = context.metrics
        self._flow = FlowMetrics(context.metrics)

    @classmethod
    async def build(
        cls,
        context: Context,
        tracer: ChangeTracer | None,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
    ) -> Self:
        """Build the pipeline with the dead letters of earlier processes. Raises `ConfigError` and `StoreError`."""
        known = {table: cassandra.schema.known(table) for table in tables.shown}
        dead = await asyncio.to_thread(DeadDocuments(context.store.dead_letters, known).load)
        return cls(context, tracer, cassandra, tables, search, dead=dead)

    async def run(self) -> None:
        """Take keys and write their documents; follow changes of the tables that nobody reads at present."""
        await run_together(pipeline=self.pipeline.run, mappings=self.follower.run)

    def status(self) -> Mapping[str, Any]:
        """Return how many keys are in flight, and who has paused the sources since when."""
        pause = self.gate.pause
        return {
            "pending": len(self.coalescer),
            "paused": self.gate.closed,
            "paused_by": None if pause is None else pause.by,
            "paused_since": None if pause is None else pause.since,
        }

    def measure(self) -> None:
        """Update the gauges of keys in flight and of the pause, the counters of keys and documents, and the lag."""
        self._observer.show()
        self._metrics.pending.set(len(self.coalescer))
        self._flow.show(self.coalescer.flow)
        self._metrics.paused.set(self.gate.closed)

    def end(self) -> None:
        """Export the last counts, after all parts have ended: new parts count from zero."""
        self.coalescer.abandon()
        self.measure()

    def _build_pipeline(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
    ) -> Pipeline:
        settings, coalescer = tables.settings, self.coalescer
        router = Router(
            coalescer,
            tables.routes,
            mapped=tables.mappings,
            followed=Followed(frozenset(self.finders), self.dependents.add, self.clock),
        )
        observer = self._observer
        policy = GiveUpPolicy()
        lifetimes = Lifetimes(
            ExpiryTracker(
                context.store.expiries,
                cassandra.schema,
                declared=[table for each in settings.mappings.values() for table in each.expiring_tables],
            )
        )
        writer = DocumentWriter(
            coalescer=coalescer,
            clock=self.clock,
            builder=self.documents,
            writer=search.writer,
            set_aside=self.dead.set_aside,
            observer=observer,
            policy=policy,
            router=router,
            lifetimes=lifetimes,
            dead=self.dead,
            server_waits=self.server_waits,
            suspects=search.suspects,
            troubled=search.troubled,
            allowed_clock_difference=int(settings.elasticsearch.allowed_clock_difference * 1e6),
        )
        return Pipeline(
            coalescer=coalescer,
            rows=RowProcessor(
                coalescer=coalescer,
                clock=self.clock,
                reader=self.reader,
                documents=writer,
                unreadable=UnreadableRows(policy, coalescer, self.dead),
                lifetimes=lifetimes,
                observer=observer,
                router=router,
                mappings=self.follower,
                dropped=DroppedDocuments(tables.mappings),
                server_waits=self.server_waits,
                troubled=search.troubled,
                second_read_pause=settings.cassandra.second_read_pause,
            ),
            expansion=Expansion(
                coalescer=coalescer,
                reader=self.reader,
                finder=PartitionDocuments(search.engine, tables.aliases),
                router=router,
                second_read_pause=settings.cassandra.second_read_pause,
                server_waits=self.server_waits,
            ),
            unreadable=UnreadablePartitions(
                coalescer=coalescer,
                policy=policy,
                set_aside=self.dead.set_aside,
                observer=observer,
                router=router,
                dead=self.dead,
            ),
            writer=search.writer,
            server_waits=self.server_waits,
            troubled=search.troubled,
            doubt=search.writer.doubt,
            workers=settings.pipeline.workers,
            batch=settings.pipeline.batch_documents,
        )

    def _follow_schema(
        self, reader: JoinedRowReader, cassandra: CassandraPart, tables: TablesPart, search: SearchPart
    ) -> SchemaFollower:
        """Return the updater of mappings and indices after changes of their tables."""

        def replace(table: TableName, several: Sequence[DocumentMapping]) -> None:
            reader.relate(table, related_of({table: several})[table])
            self.documents.replace(table, several)
            search.preparation.follow(several)

        live = LiveMappings(
            tables.settings.mappings,
            tables.mappings,
            schema=cassandra.schema,
            make=partial(make_mapping, schema=cassandra.schema),
            fields=SwapFields(search.engine, search.swap_watch),
            replace=replace,
            server_waits=self.server_waits,
        )
        return SchemaFollower(live, again=read_again(self.coalescer), keys=tables.keys)
