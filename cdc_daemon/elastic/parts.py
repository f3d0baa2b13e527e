"""The parts that write to Elasticsearch, put together."""

from __future__ import annotations

from collections.abc import Sequence

from elasticsearch import AsyncElasticsearch

from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.elastic.bulk import BulkLimits, BulkWriter
from cdc_daemon.elastic.pair_changes import PairChanges
from cdc_daemon.elastic.pair_watch import PairWatch
from cdc_daemon.elastic.pair_writer import PairWriter
from cdc_daemon.metrics import Metrics
from cdc_daemon.observers import BulkMetrics
from cdc_daemon.startup import SHORTEST_BODY_AGE


def make_writing(
    client: AsyncElasticsearch,
    settings: Settings,
    mappings: Sequence[DocumentMapping],
    *,
    remembered: float,
    metrics: Metrics,
) -> tuple[PairWatch, PairChanges, PairWriter]:
    """Make what knows the indices behind the aliases, what changes them, and what writes to them.

    `remembered` (seconds) is how long the most forgetful index remembers deletions.
    """
    limits = _bulk_limits(settings, remembered)
    pairs = PairWatch(client, [mapping.alias for mapping in mappings])
    changes = PairChanges(client, pairs)
    live = BulkWriter(client, limits=limits, observer=BulkMetrics(metrics))
    writer = PairWriter(
        live,
        lambda: BulkWriter(client, limits=limits),
        pairs,
        let_go=changes.let_go,
        mark_behind=changes.mark_behind,
    )
    return pairs, changes, writer


def _bulk_limits(settings: Settings, remembered: float) -> BulkLimits:
    return BulkLimits(
        documents=settings.elasticsearch.bulk_documents,
        size=settings.elasticsearch.bulk_bytes,
        connections=settings.elasticsearch.connections,
        request_timeout=settings.elasticsearch.request_timeout,
        max_body_age=max(remembered / 2, SHORTEST_BODY_AGE),
        allowed_clock_difference=settings.elasticsearch.allowed_clock_difference,
    )
