"""Builds the parts that write to Elasticsearch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cdc_daemon.app.parts.index_preparation import SHORTEST_BODY_AGE, Preparation
from cdc_daemon.app.startup import Tell
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.bulk import BulkLimits, BulkWriter
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.metrics import BulkMetrics
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.telemetry.metrics import Metrics


class Writing(NamedTuple):
    """The watch of the indices behind the aliases, their changes, the writer, and the aliases that accept no writes."""

    pairs: SwapWatch
    changes: SwapSteps
    writer: SwapWriter
    troubled: Troubled
    remembered: float
    """Seconds for which every index remembers deletions, as far as known."""


async def make_writing(
    client: SearchEngine,
    settings: Settings,
    mappings: Mapping[TableName, Sequence[DocumentMapping]],
    *,
    metrics: Metrics,
    tell: Tell,
) -> Writing:
    """Prepare the indices, waiting for Elasticsearch, and build the parts that write to them.

    Raises `IndexRefusedError` for an index that cannot be created as declared.
    """
    preparation = Preparation(client, settings.mappings, mappings)
    await preparation.at_start(tell=tell)
    aliases = {table: [mapping.alias for mapping in several] for table, several in mappings.items()}
    limits = _bulk_limits(settings, preparation.remembered)
    pairs = SwapWatch(client, [alias for several in aliases.values() for alias in several])
    changes = SwapSteps(client, pairs)
    live = BulkWriter(client, limits=limits, observer=BulkMetrics(metrics), prepare=preparation.again)
    preparation.on_shorter = lambda seconds: live.limit_body_age(_body_age(seconds))
    writer = SwapWriter(
        live,
        lambda: BulkWriter(client, limits=limits),
        pairs,
        let_go=changes.let_go,
        mark_behind=changes.mark_behind,
    )
    for alias, error in preparation.unready.items():
        writer.hold(alias, error)
    return Writing(pairs, changes, writer, Troubled(writer, aliases), preparation.remembered)


def _bulk_limits(settings: Settings, remembered: float) -> BulkLimits:
    return BulkLimits(
        documents=settings.elasticsearch.bulk_documents,
        size=settings.elasticsearch.bulk_bytes,
        connections=settings.elasticsearch.connections,
        request_timeout=settings.elasticsearch.request_timeout,
        max_body_age=_body_age(remembered),
        allowed_clock_difference=settings.elasticsearch.allowed_clock_difference,
    )


def _body_age(remembered: float) -> float:
    """Return the maximum seconds that a body may wait if deletions are remembered for `remembered` seconds."""
    return max(remembered / 2, SHORTEST_BODY_AGE)
