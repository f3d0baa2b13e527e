"""The part that moves waiting keys to disk while cdc_raw fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.app.parts.search import SearchPart
from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.config import Settings
from cdc_daemon.sources.spool.spooler import DEFAULT_SEGMENT_SIZE, CdcSpace, Spooler, SpoolMetrics

log = structlog.get_logger(__name__)


class SpoolPart(Part):
    """Moves waiting keys to disk while the search engine accepts no writes, so that segments can be released."""

    name = "spool"

    def __init__(self, context: Context, space: CdcSpace, search: SearchPart, pipeline: PipelinePart) -> None:
        self._spooler = Spooler(
            context.store.spool,
            coalescer=pipeline.coalescer,
            gate=pipeline.gate,
            space=space,
            ready=lambda: search.writer.available,
            troubled=search.troubled,
            observer=SpoolMetrics(context.metrics),
        )
        self._metrics = context.metrics

    @property
    def waiting(self) -> int:
        """The number of keys on disk."""
        return self._spooler.waiting

    async def run(self) -> None:
        """Watch the space in cdc_raw, and write keys to disk and back."""
        await self._spooler.run()

    def status(self) -> Mapping[str, Any]:
        """Return the number of keys on disk."""
        return {"spooled": self._spooler.waiting}

    def measure(self) -> None:
        """Update the gauge of keys on disk."""
        self._metrics.spooled_keys.set(self._spooler.waiting)


def watch_space(context: Context, cassandra: CassandraPart) -> CdcSpace:
    """Return the space of cdc_raw, which the tail measures: none if the daemon does not free space there."""
    settings, node = context.settings, cassandra.node
    options = settings.commit_log
    limit = total_space(settings, node)
    context.metrics.cdc_raw_limit_bytes.set(limit)
    if settings.tail and options.spool and not limit:
        log.warning(
            "spool.limit_unknown",
            hint="cdc_raw may fill while the search engine is away: let the daemon's role read system_views, or set "
            "commit_log.cdc_total_space as in cassandra.yaml",
        )
    return CdcSpace(
        limit=limit if options.spool and options.release and settings.tail else 0,
        segment_size=node.size("commitlog_segment_size") or DEFAULT_SEGMENT_SIZE,
        threshold=options.spool_threshold,
    )


def total_space(settings: Settings, node: NodeSettings | None) -> int:
    """Return `cdc_total_space` (bytes) from the node, else from the configuration, else 0."""
    theirs = None if node is None else node.size("cdc_total_space")
    return theirs or settings.commit_log.cdc_total_space or 0
