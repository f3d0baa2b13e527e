"""The part that answers callers' requests for rows by id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.sources.requests import SyncService
from cdc_daemon.sources.requests.jobs import SyncJobRunner
from cdc_daemon.sources.requests.refresh import Refresher
from cdc_daemon.sources.requests.service import ServerHealth


class RequestsPart(Part):
    """Requests for rows: `sync` answers them at once, `jobs` processes the asynchronous ones."""

    name = "jobs"

    def __init__(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
        *,
        refresher: Refresher,
    ) -> None:
        self.sync = SyncService(
            pipeline.pipeline,
            mappings=tables.listed,
            settings=tables.settings.mappings,
            refresher=refresher,
            servers=ServerHealth(cassandra.availability, search.writer, pipeline.server_waits, search.troubled),
            suspended=tables.suspended_types,
        )
        self.jobs = SyncJobRunner(self.sync, context.store.sync_jobs, limit=tables.settings.http.max_jobs)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
    ) -> AsyncIterator[Self]:
        """Accept requests during a block, until the part is drained."""
        async with AsyncExitStack() as stack:
            refresher = Refresher(search.engine)
            stack.push_async_callback(refresher.close)
            part = cls(context, cassandra, tables, search, pipeline, refresher=refresher)
            stack.callback(part.sync.stop)
            yield part

    async def run(self) -> None:
        """Process asynchronous requests. Unfinished ones continue at the next start."""
        await self.jobs.run()

    async def drain(self, seconds: float) -> None:  # noqa: ARG002 -- it ends at once
        """Reject new requests, and end those in flight: the pipeline is about to stop."""
        self.sync.stop()
