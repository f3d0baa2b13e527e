"""The part that polls tables without CDC, and writes the heartbeat."""

from __future__ import annotations

import socket
from functools import partial
from typing import Self

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.share import SharePart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.app.startup import persist
from cdc_daemon.sources.heartbeat import HeartbeatWriter
from cdc_daemon.sources.metrics import PollMetrics
from cdc_daemon.sources.poll.documents import DocumentVersions
from cdc_daemon.sources.poll.factory import PollerFactory, check_polled_tables


class PollingPart(Part):
    """Reads changed rows of tables without CDC by a timestamp column. Its status is that of its scheduled tasks."""

    name = "polling"

    @classmethod
    async def build(
        cls,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
        *,
        share: SharePart,
    ) -> Self:
        """Schedule the pollers, waiting until they can start, and the heartbeat. Raises `ConfigError`."""
        settings = tables.settings
        factory = PollerFactory(
            cassandra.session,
            cassandra.schema,
            sink=pipeline.gate,
            documents=DocumentVersions(search.engine, tables.mappings),
            watermarks=context.store.watermarks,
            observer=PollMetrics(context.metrics),
            division=share.division,
        )
        check_polled_tables(settings.poll, tables.shown)
        for polled in settings.poll:
            poller = await persist("cassandra", partial(factory.make, polled))
            context.schedule.every(polled.every, f"poll {polled.table}", poller.poll, jitter=polled.every / 10)
        if (table := settings.heartbeat.table) is not None:
            heart = HeartbeatWriter(
                cassandra.session, settings.cassandra, table, name=socket.gethostname(), metrics=context.metrics
            )
            context.schedule.every(settings.heartbeat.every, "heartbeat", heart.beat)
        return cls()
