"""The space in cdc_raw, from the configuration and the node."""

from __future__ import annotations

import structlog

from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.config import Settings
from cdc_daemon.sources.spool.spooler import DEFAULT_SEGMENT_SIZE, CdcSpace

log = structlog.get_logger(__name__)


def total_space(settings: Settings, node: NodeSettings | None) -> int:
    """Return `cdc_total_space` (bytes) from the node, else from the configuration, else 0."""
    theirs = None if node is None else node.size("cdc_total_space")
    return theirs or settings.commit_log.cdc_total_space or 0


def make_space(settings: Settings, node: NodeSettings) -> CdcSpace:
    """Return the monitored space of cdc_raw: none if the daemon does not free space there."""
    options = settings.commit_log
    limit = total_space(settings, node)
    if settings.tail and options.spool and not limit:
        log.warning(
            "spool.limit_unknown",
            hint="cdc_raw may fill while Elasticsearch is away: let the daemon's role read system_views, or set "
            "commit_log.cdc_total_space as in cassandra.yaml",
        )
    return CdcSpace(
        limit=limit if options.spool and options.release and settings.tail else 0,
        segment_size=node.size("commitlog_segment_size") or DEFAULT_SEGMENT_SIZE,
        threshold=options.spool_threshold,
    )
