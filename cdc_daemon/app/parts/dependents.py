"""The part that updates documents which show changed joined rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.pipeline.races import PREFETCH_SECONDS
from cdc_daemon.sources.dependents.refresher import INTERVAL, DependentsRefresher
from cdc_daemon.sources.metrics import DependentsMetrics

OTHERS_SECONDS = 2.0 + PREFETCH_SECONDS
"""Seconds from the read of a row to its document in other daemons, which this one cannot see. Unlike the pause of jobs,
it includes no time in a log, because a row that is read later shows the change. Each changed row waits this long, so it
is as short as possible."""


class DependentsPart(Part):
    """Updates the documents that show a changed joined row, where the row's key does not identify them."""

    name = "dependents"

    def __init__(
        self,
        context: Context,
        cassandra: CassandraPart,
        tables: TablesPart,
        search: SearchPart,
        pipeline: PipelinePart,
    ) -> None:
        settings = tables.settings
        self._waiting = context.store.dependents
        self._metrics = context.metrics

        def wait_for_others() -> asyncio.Future[None]:
            return asyncio.ensure_future(asyncio.sleep(OTHERS_SECONDS if cassandra.several_nodes else 0))

        refresher = DependentsRefresher(
            pipeline.dependents,
            pipeline.finders,
            flights=pipeline.coalescer,
            sink=pipeline.coalescer,
            gate=pipeline.gate,
            observer=DependentsMetrics(context.metrics, pipeline.finders),
            rate=settings.pipeline.dependents_rate,
            margin=int(settings.elasticsearch.allowed_clock_difference * 1e6),
            wait_for_others=wait_for_others,
            troubled=search.troubled,
            search_failed=search.writer.doubt,
        )
        context.schedule.every(INTERVAL, "dependents", refresher.turn, rests=True)

    def status(self) -> Mapping[str, Any]:
        """Return how many changed rows have dependents that wait for their update."""
        return {"dependents_waiting": self._waiting.count}

    def measure(self) -> None:
        """Update the gauge of waiting rows."""
        self._metrics.dependents_waiting.set(self._waiting.count)
