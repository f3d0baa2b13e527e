"""What the daemon is made of: the list of its parts, and how they start, run, drain and stop together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from cdc_daemon.app.part import Context, Part, supervise
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.clock import ClockPart
from cdc_daemon.app.parts.dead_letters import DeadLettersPart
from cdc_daemon.app.parts.dependents import DependentsPart
from cdc_daemon.app.parts.late_requests import LateRequestsPart
from cdc_daemon.app.parts.log import LogPart
from cdc_daemon.app.parts.peers import PeersPart
from cdc_daemon.app.parts.pipeline import PipelinePart, tracing
from cdc_daemon.app.parts.polling import PollingPart
from cdc_daemon.app.parts.removals import RemovalsPart
from cdc_daemon.app.parts.requests import RequestsPart
from cdc_daemon.app.parts.ring import RingPart
from cdc_daemon.app.parts.schedule import SchedulePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.share import SharePart
from cdc_daemon.app.parts.spool import SpoolPart, watch_space
from cdc_daemon.app.parts.table_jobs import TableJobsPart
from cdc_daemon.app.parts.tables import TablesPart

REKEYED_SECONDS = 2.0
"""Drain timeout after a table's primary key has changed: its in-flight changes can never complete."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """The running parts of a daemon. They start in this order and are drained in reverse."""

    log: LogPart  # follows this node's commit log; ends the run when it has drained
    cassandra: CassandraPart  # the session, and whether Cassandra answers
    peers: PeersPart  # asks the daemons beside the other nodes of the ring
    tables: TablesPart  # the tables' schema, and the mappings that fit it
    search: SearchPart  # the indices behind the aliases, and the bulk writer
    clock: ClockPart  # compares this machine's clock with the servers'
    pipeline: PipelinePart  # from signals to acknowledged documents
    ring: RingPart  # leaves changes to the daemons of their first replicas until these confirm them
    spool: SpoolPart  # moves waiting keys to disk while cdc_raw fills
    dependents: DependentsPart  # updates documents that show changed joined rows
    removals: RemovalsPart  # TRUNCATE, DROP and TTL, which the log does not contain
    late_requests: LateRequestsPart  # checks documents that an unanswered bulk request may still write
    dead_letters: DeadLettersPart  # keeps, retries and replays documents that could not be written
    share: SharePart  # divides polling and passes among the daemons that do the same
    polling: PollingPart  # polls tables without CDC, and writes the heartbeat
    table_jobs: TableJobsPart  # backfill, reconcile, new index, healing, audit
    schedule: SchedulePart  # runs the scheduled tasks of the parts
    requests: RequestsPart  # rows that callers request by id

    @property
    def parts(self) -> Sequence[Part]:
        """All parts, in the order of their list."""
        return [getattr(self, field.name) for field in fields(self)]

    async def run(self) -> bool:
        """Run until `drain` has ended the log, or until cancelled; return whether the parts must be composed again.

        Raises the error of a part that ends unexpectedly.
        """
        rekeyed = False

        async def end_when_rekeyed() -> None:
            nonlocal rekeyed
            await self.tables.keys.wait_changed()
            # A start waits for Elasticsearch and does not spool during the wait.
            await self.search.writer.wait_available()
            rekeyed = True
            await self.drain(REKEYED_SECONDS)

        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(end_when_rekeyed(), name="end")
            await supervise(self.log, [part for part in self.parts if part is not self.log])
            ending.cancel()
        self.pipeline.end()
        return rekeyed

    async def drain(self, seconds: float) -> None:
        """Drain the parts: requests end first, and the log saves the checkpoint last."""
        for part in reversed(self.parts):
            await part.drain(seconds)

    def measure(self) -> None:
        """Update the gauges of all parts."""
        for part in self.parts:
            part.measure()

    def status(self) -> Mapping[str, Any]:
        """Return the status of all parts in plain values."""
        return {key: value for part in self.parts for key, value in part.status().items()}


@asynccontextmanager
async def compose(context: Context) -> AsyncIterator[Composition]:
    """Build the parts, waiting for servers that are down.

    Raises `ConfigError` for problems that only another configuration can fix.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        tracer = await enter(tracing(context))
        cassandra = await enter(CassandraPart.open(context))
        peers = await enter(PeersPart.open(context, cassandra))
        space = watch_space(context, cassandra)
        tables = await enter(TablesPart.open(context, cassandra))
        search = await enter(SearchPart.open(context, tables))
        pipeline = await PipelinePart.build(context, tracer, cassandra, tables, search)
        requests = await enter(RequestsPart.open(context, cassandra, tables, search, pipeline))
        share = await enter(SharePart.open(context, peers, pipeline))
        spool = SpoolPart(context, space, search, pipeline)
        ring = RingPart(
            context,
            cassandra=cassandra,
            peers=peers,
            space=space,
            search=search,
            pipeline=pipeline,
            spool=spool,
        )
        log = LogPart.build(context, cassandra=cassandra, space=space, tables=tables, pipeline=pipeline, ring=ring)
        yield Composition(
            log=log,
            cassandra=cassandra,
            peers=peers,
            tables=tables,
            search=search,
            clock=ClockPart(context, cassandra, search),
            pipeline=pipeline,
            ring=ring,
            spool=spool,
            dependents=DependentsPart(context, cassandra, tables, search, pipeline),
            removals=RemovalsPart(context, cassandra, tables, search, pipeline),
            late_requests=LateRequestsPart(context, tables, search, pipeline),
            dead_letters=DeadLettersPart(context, cassandra, tables, search, pipeline),
            share=share,
            polling=await PollingPart.build(context, cassandra, tables, search, pipeline, share=share),
            table_jobs=TableJobsPart(context, cassandra, tables, search, pipeline, log=log, share=share),
            schedule=SchedulePart(context),
            requests=requests,
        )
