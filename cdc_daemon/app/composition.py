"""Assembles the parts: Cassandra, Elasticsearch, the pipeline between them, and the sources that feed it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from cdc_daemon.app.assembly import Assembly
from cdc_daemon.app.parts.dependents import StoredQueue, make_finders, wait_for_others
from cdc_daemon.app.parts.index_preparation import index_definition
from cdc_daemon.app.parts.late_requests import make_watch, recording
from cdc_daemon.app.parts.log import filter_by_ownership, make_tail
from cdc_daemon.app.parts.pipeline import make_pipeline
from cdc_daemon.app.parts.polling import Turns, fill_schedule
from cdc_daemon.app.parts.removals import make_index_rows, make_rebuild, make_table_watch
from cdc_daemon.app.parts.search import make_writing
from cdc_daemon.app.parts.spool import make_space, total_space
from cdc_daemon.app.parts.table_jobs import JobParts, make_runner
from cdc_daemon.app.parts.tables import lay_mappings
from cdc_daemon.app.schedule import Schedule
from cdc_daemon.app.startup import (
    Tell,
    connect_cassandra,
    connect_elasticsearch,
    live_mappings,
    make_mapping,
    read_node_settings,
)
from cdc_daemon.cassandra.availability import CassandraAvailability, make_probe
from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import Settings
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.dead_documents import DeadDocuments
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.metrics import PipelineMetrics
from cdc_daemon.pipeline.routes import find_routes, related_of
from cdc_daemon.pipeline.routing import Followed, Router, group_routes
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.search.swap_watch import SwapFields
from cdc_daemon.sources.dead_letters.replay import Replayer
from cdc_daemon.sources.dead_letters.retries import DeadLetterRetries
from cdc_daemon.sources.dependents.refresher import DependentsRefresher
from cdc_daemon.sources.log.metrics import TailMetrics
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.metrics import DependentsMetrics, PollMetrics
from cdc_daemon.sources.poll.documents import DocumentVersions
from cdc_daemon.sources.poll.factory import PollerFactory
from cdc_daemon.sources.requests import SyncService
from cdc_daemon.sources.requests.jobs import SyncJobRunner
from cdc_daemon.sources.requests.refresh import Refresher
from cdc_daemon.sources.requests.service import ServerHealth
from cdc_daemon.sources.schema_changes.mappings import FollowingReader, read_again
from cdc_daemon.sources.spool.spooler import Spooler, SpoolMetrics
from cdc_daemon.sources.unlogged_removals.expiry import ExpiryTracker, ExpiryWatch
from cdc_daemon.store import Store
from cdc_daemon.tablejobs.index_admin import IndexAdmin
from cdc_daemon.tablejobs.metrics import DriftMetrics
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.tracing import make_tracer


@asynccontextmanager
async def assemble(
    settings: Settings, store: Store, metrics: Metrics, *, beat: Callable[[str], None], tell: Tell
) -> AsyncIterator[Assembly]:
    """Connect to the servers, waiting for those that are down, and assemble the parts.

    The parts call `beat` to show that they are alive. `tell` is called with the server or table waited for.
    Raises `ConfigError` for problems that only another configuration can fix.
    """
    async with AsyncExitStack() as stack:
        tracer = make_tracer(settings.tracing, node=socket.gethostname())
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        session = await connect_cassandra(settings, tell=tell)
        stack.push_async_callback(asyncio.to_thread, session.cluster.shutdown)
        node = await read_node_settings(session, settings)
        space = make_space(settings, node)
        metrics.cdc_raw_limit_bytes.set(total_space(settings, node))
        schema = SchemaSource(session, history=store.schema_history)
        laid = await lay_mappings(settings, schema, store, tell=tell)
        settings, mappings, shown, keys = laid[:4]
        listed = [mapping for several in mappings.values() for mapping in several]
        routes = group_routes(find_routes(listed, schema.table))
        # Watch from here on: the wait for Elasticsearch may be long, and a dropped table's definition is lost.
        watching = asyncio.create_task(schema.watch(), name="schema")
        stack.callback(watching.cancel)
        client = connect_elasticsearch(settings.elasticsearch)
        stack.push_async_callback(client.close)
        pairs, changes, writer, troubled, remembered = await make_writing(
            client, settings, mappings, metrics=metrics, tell=tell
        )
        stack.push_async_callback(writer.close)
        suspects = await stack.enter_async_context(recording(store, settings.elasticsearch, remembered))
        clock = HybridClock(start=store.clock_bound(), reserve=store.raise_clock_bound)
        cassandra = CassandraAvailability(make_probe(session, schema, shown))
        reader = JoinedRowReader(
            CassandraRowReader(
                session,
                schema,
                clock,
                keys_per_query=settings.cassandra.keys_per_query,
                concurrent_queries=settings.cassandra.concurrent_queries,
                answered=cassandra.answered,
            ),
            schema,
            related_of(mappings),
        )
        coalescer = Coalescer(limit=settings.pipeline.pending_limit)
        writer.when_troubled(coalescer.unpark)
        documents = MappedDocuments(mappings)
        waits = Waits()
        following = FollowingReader(
            reader,
            live_mappings(
                settings,
                schema,
                mappings,
                documents=documents,
                reader=reader,
                fields=SwapFields(client, pairs),
                waits=waits,
            ),
            again=read_again(coalescer),
            keys=keys,
        )
        expirations = ExpiryTracker(
            store.expiries,
            schema,
            declared=[table for mapping in settings.mappings.values() for table in mapping.expiring_tables],
        )
        index_rows = make_index_rows(settings, mappings, client)
        finders = make_finders(listed, schema.table, session=session, rows=index_rows)
        queue = StoredQueue(store.dependents)
        dead = await asyncio.to_thread(
            DeadDocuments(store.dead_letters, {table: schema.known(table) for table in shown}).load
        )
        pipeline = make_pipeline(
            settings,
            mappings,
            client=client,
            coalescer=coalescer,
            clock=clock,
            reader=following,
            builder=documents,
            writer=writer,
            dead=dead,
            expiries=expirations,
            router=Router(coalescer, routes, mapped=mappings, followed=Followed(frozenset(finders), queue.add, clock)),
            waits=waits,
            suspects=suspects,
            troubled=troubled,
            observer=PipelineMetrics(
                metrics, tracer, {table: [each.alias for each in several] for table, several in mappings.items()}
            ),
        )
        gate = Gate(pipeline)
        refresher = Refresher(client)
        stack.push_async_callback(refresher.close)
        sync = SyncService(
            pipeline,
            mappings=listed,
            settings=settings.mappings,
            refresher=refresher,
            servers=ServerHealth(cassandra, writer, waits, troubled),
            suspended=laid.held_types,
        )
        stack.callback(sync.stop)
        schedule = Schedule()
        makers = PollerFactory(
            session,
            schema,
            sink=gate,
            documents=DocumentVersions(client, mappings),
            watermarks=store.watermarks,
            observer=PollMetrics(metrics),
        )
        dependents = DependentsRefresher(
            queue,
            finders,
            flights=coalescer,
            sink=pipeline,
            gate=gate,
            observer=DependentsMetrics(metrics, finders),
            rate=settings.pipeline.dependents_rate,
            margin=int(settings.elasticsearch.allowed_clock_difference * 1e6),
            wait_for_others=wait_for_others(session),
            troubled=troubled,
            search_failed=writer.doubt,
        )
        tables = make_table_watch(
            settings,
            mappings,
            session=session,
            rows=index_rows,
            schema=schema,
            store=store,
            coalescer=coalescer,
            sink=pipeline,
            gate=gate,
            counted=metrics.documents_swept.inc,
            keys=keys,
        )
        tail = make_tail(
            settings,
            store,
            node=node,
            mapped=shown,
            sink=filter_by_ownership(
                settings,
                session,
                gate,
                schedule=schedule,
                requests=store.reconcile_requests,
                left=metrics.signals_left.inc,
                taken_over=metrics.signals_taken_over.inc,
            ),
            schema=schema,
            observer=TailMetrics(metrics, space.listed),
            beat=beat,
        )
        replayer = Replayer(
            pipeline,
            store.dead_letters,
            schema=schema,
            shown=frozenset(shown),
            unreadable=cassandra.wait_lost,
            reconcile=make_rebuild(mappings, store),
        )
        await fill_schedule(
            schedule,
            settings,
            shown=shown,
            makers=makers,
            session=session,
            metrics=metrics,
            turns=Turns(
                dependents=dependents,
                tables=tables,
                expiries=ExpiryWatch(store.expiries, sink=pipeline, gate=gate, count=metrics.rows_expired.inc),
                retries=DeadLetterRetries(
                    store.dead_letters,
                    replayer,
                    pause=settings.dead_letters.retry_every,
                    ready=lambda: bool(cassandra) and writer.available and not gate.closed,
                ),
                suspects=make_watch(
                    store,
                    suspects.times,
                    client=client,
                    pairs=pairs,
                    sink=pipeline,
                    gate=gate,
                    ready=lambda: writer.available,
                    tables=mappings,
                    returned=metrics.documents_written_late.inc,
                ),
            ),
        )
        range_jobs = make_runner(
            JobParts(
                session=session,
                schema=schema,
                store=store.range_jobs,
                pipeline=pipeline,
                client=client,
                reader=following,
                clock=clock,
                builder=documents,
                writer=writer,
                changes=changes,
                definitions=lambda name: index_definition(
                    settings.mappings[name], make_mapping(name, settings.mappings[name], schema)
                ),
                is_dead=dead.has,
                tail=tail,
                node=node,
                mappings=mappings,
                settings=settings,
                requests=store.reconcile_requests,
                schedule=schedule,
                told=DriftMetrics(metrics).set_drift,
                held=laid.held_tables,
                troubled=troubled,
            )
        )
        yield Assembly(
            tables=shown,
            session=session,
            cassandra=cassandra,
            pipeline=pipeline,
            tail=tail,
            writer=writer,
            metrics=metrics,
            watching=watching,
            quarantine=Quarantine(settings.state.directory),
            gate=gate,
            keys=keys,
            held=laid.held,
            sync=sync,
            jobs=SyncJobRunner(sync, store.sync_jobs, limit=settings.http.max_jobs),
            schedule=schedule,
            range_jobs=range_jobs,
            indices=IndexAdmin(
                {mapping.name: mapping.alias for mapping in listed}, client=client, changes=changes, jobs=range_jobs
            ),
            pairs=pairs,
            reconcile_requests=store.reconcile_requests,
            replayer=replayer,
            expiries=store.expiries,
            waiting_dependents=lambda: store.dependents.count,
            suspect_documents=lambda: store.suspects.count,
            spooler=Spooler(
                store.spool,
                coalescer=coalescer,
                gate=gate,
                space=space,
                ready=lambda: writer.available,
                troubled=troubled,
                observer=SpoolMetrics(metrics),
            ),
            background={"indices": pairs.run, "mappings": following.run, "keys": keys.run},
        )
