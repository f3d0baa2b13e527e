"""What the parts of the daemon tell, written into the metrics.

What may happen is shown with a count of 0 from the start: a series that begins with its first event has no increase
that an alert could see. https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import structlog
from prometheus_client import Counter, Histogram

from cdc_daemon.elastic.observer import RetryReason
from cdc_daemon.errors import (
    NOT_BUILT,
    CommitLogError,
    DamagedSegmentError,
    MutationError,
    UnknownTableError,
    UnsupportedSegmentError,
)
from cdc_daemon.metrics import Metrics
from cdc_daemon.pipeline.flow import Flow
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.tail.gap import Gap, GapReason
from cdc_daemon.tail.position import Position
from cdc_daemon.tracing import ChangeTracer

log = structlog.get_logger(__name__)

_UNREADABLE = (DamagedSegmentError, MutationError, UnknownTableError, UnsupportedSegmentError)


class PipelineMetrics:
    """Counts what the pipeline settles, and how late.

    It is told of every document, so labelled children are looked up once and kept. A change with a span leaves its
    trace's id with the lag as an exemplar, which OpenMetrics shows. `aliases` are those that each table's mappings
    write to.
    """

    def __init__(
        self,
        metrics: Metrics,
        tracer: ChangeTracer | None = None,
        aliases: Mapping[TableName, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._aliases = aliases
        self._newest: dict[TableName, int] = {}
        self._outcomes: dict[tuple[str, str], Counter] = {}
        self._lags: dict[TableName, Histogram] = {}
        for reason in ("document", *NOT_BUILT):
            metrics.dead_letters.labels(reason)

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        """Count a document by its outcome; without an alias, each document that the table's mappings make of a row."""
        # A row that only other rows' documents show has no alias of its own.
        for each in (alias,) if alias else self._aliases.get(table, ("",)):
            counter = self._outcomes.get((each, outcome))
            if counter is None:
                counter = self._outcomes[each, outcome] = self._metrics.documents.labels(each, outcome)
            counter.inc()

    def set_aside(self, reasons: Sequence[str]) -> None:
        """Count documents that are kept as dead letters and were not before; those refused have one reason here."""
        for reason in reasons:
            self._metrics.dead_letters.labels(reason if reason in NOT_BUILT else "document").inc()

    def shown(self, table: TableName, oldest: int) -> None:
        """Measure how long the oldest change of a key took to be shown."""
        if not oldest:
            return
        lag = self._lags.get(table)
        if lag is None:
            lag = self._lags[table] = self._metrics.replication_lag_seconds.labels(*table)
        now = time.time()
        trace = None if self._tracer is None else self._tracer.acknowledged(table, oldest / 1e6, now)
        lag.observe(max(now - oldest / 1e6, 0.0), None if trace is None else {"trace_id": trace})
        written = min(oldest, int(now * 1e6))  # of a writer's clock ahead it would stand still until that moment
        if written > self._newest.get(table, 0):
            self._newest[table] = written
            self._metrics.last_acknowledged_write_timestamp_seconds.labels(*table).set(written / 1e6)

    def second_reads(self, count: int) -> None:
        """Count rows read once more."""
        self._metrics.second_reads.inc(count)

    def retried(self, reason: str, count: int) -> None:
        """Count nothing: the bulk writer has counted these by its own, bounded reasons."""


class PollMetrics:
    """Counts what pollers see."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Count rows by what became of them."""
        for outcome, count in (("submitted", submitted), ("known", known), ("fresh", fresh)):
            self._metrics.poll_rows.labels(*table, outcome).inc(count)
        self._metrics.signals.inc(submitted)

    def planned(self, table: TableName, interval: float) -> None:
        """Show how often a table is asked, in seconds."""
        self._metrics.poll_interval_seconds.labels(*table).set(interval)

    def watermark(self, table: TableName, moment: int) -> None:
        """Show how far a table was seen."""
        self._metrics.poll_watermark_timestamp_seconds.labels(*table).set(moment / 1e6)

    def untimed(self, table: TableName, rows: int) -> None:
        """Show how many rows of a table told nothing of their changes in its last turn."""
        self._metrics.poll_untimed_rows.labels(*table).set(rows)


class SpoolMetrics:
    """Counts what goes to the spool and comes back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for direction in ("out", "in"):
            metrics.keys_spooled.labels(direction)

    def spooled(self, count: int) -> None:
        """Count keys that went to disk."""
        self._metrics.keys_spooled.labels("out").inc(count)

    def unspooled(self, count: int) -> None:
        """Count keys that came back and are settled."""
        self._metrics.keys_spooled.labels("in").inc(count)


class DependentsMetrics:
    """Counts documents that follow other tables' rows: those of `tables`."""

    def __init__(self, metrics: Metrics, tables: Iterable[TableName] = ()) -> None:
        self._metrics = metrics
        for table in tables:
            metrics.dependents_refreshed.labels(*table)
            metrics.dependents_failed.labels(*table)

    def refreshed(self, table: TableName, count: int) -> None:
        """Count documents built anew because of a row of `table`."""
        self._metrics.dependents_refreshed.labels(*table).inc(count)

    def failed(self, table: TableName) -> None:
        """Count a refresh that failed, because of a row of `table`, and is tried again."""
        self._metrics.dependents_failed.labels(*table).inc()


class FlowMetrics:
    """Exports what became of signals, which the coalescer only counts: it is asked for every one of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters = (
            metrics.signals_taken,
            metrics.signals_coalesced,
            metrics.keys_settled.labels("row"),
            metrics.keys_settled.labels("partition"),
            metrics.keys_forgotten,
        )
        self._shown = Flow(0, 0, 0, 0, 0)

    def show(self, flow: Flow) -> None:
        """Bring the counters up to what the coalescer has counted."""
        for counter, now, before in zip(self._counters, flow, self._shown, strict=True):
            counter.inc(now - before)
        self._shown = flow


class BulkMetrics:
    """Measures bulk requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for reason in RetryReason:
            metrics.retries.labels(reason.value)

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Measure one answered bulk request."""
        self._metrics.bulk_duration_seconds.observe(seconds)
        self._metrics.bulk_documents.observe(documents)
        self._metrics.bulk_bytes.observe(size)
        log.debug("elasticsearch.bulk", documents=documents, bytes=size, seconds=round(seconds, 4))

    def retried(self, reason: RetryReason, count: int) -> None:
        """Count operations that go round once more."""
        self._metrics.retries.labels(reason.value).inc(count)

    def availability_changed(self, *, available: bool) -> None:
        """Show whether Elasticsearch takes writes."""
        self._metrics.elasticsearch_available.set(available)


class AliasMetrics:
    """Shows which aliases take writes."""

    def __init__(self, metrics: Metrics, aliases: Iterable[str]) -> None:
        self._metrics = metrics
        self._shown: dict[str, str] = {}
        for alias in aliases:
            metrics.alias_available.labels(alias).set(1)

    def show(self, reasons: Mapping[str, str]) -> None:
        """Show the aliases that take no writes now, each with the reason."""
        for alias in self._shown.keys() | reasons.keys():
            before, now = self._shown.get(alias), reasons.get(alias)
            if before == now:
                continue
            if before is not None:
                self._metrics.alias_trouble.remove(alias, before)
            if now is not None:
                self._metrics.alias_trouble.labels(alias, now).set(1)
            self._metrics.alias_available.labels(alias).set(now is None)
        self._shown = dict(reasons)


class TailMetrics:
    """Counts what the tail reads, and what it gives back. `on_listed` is told the bytes in the folder."""

    def __init__(self, metrics: Metrics, on_listed: Callable[[int], None] = lambda _bytes: None) -> None:
        self._metrics = metrics
        self._on_listed = on_listed
        for reason in GapReason:
            metrics.gaps.labels(reason.value)
        for kind in _UNREADABLE:
            metrics.decode_errors.labels(kind.__name__)
            metrics.dead_letters.labels(_letter(kind))

    def read(self, table: TableName, scope: str, count: int) -> None:
        """Count changes by the table and how much of it they speak of."""
        self._metrics.mutations.labels(*table, scope).inc(count)
        self._metrics.signals.inc(count)

    def passed_over(self, reason: str, count: int) -> None:
        """Count updates that make no signal."""
        self._metrics.updates_passed_over.labels(reason).inc(count)

    def listed(self, segments: int, total_bytes: int) -> None:
        """Show what is in the folder."""
        self._metrics.cdc_raw_segments.set(segments)
        self._metrics.cdc_raw_bytes.set(total_bytes)
        self._on_listed(total_bytes)

    def saved(self, position: Position) -> None:
        """Show the durable checkpoint's segment."""
        self._metrics.checkpoint_segment_id.set(position.segment_id)

    def released(self, segment_id: int, size: int) -> None:  # noqa: ARG002 -- counted, not named: ids have no end
        """Count a segment that was deleted."""
        self._metrics.segments_released.inc()

    def unreadable(self, problem: CommitLogError) -> None:
        """Count a piece of a segment that cannot be read, and is a dead letter."""
        self._metrics.decode_errors.labels(type(problem).__name__).inc()
        self._metrics.dead_letters.labels(_letter(type(problem))).inc()

    def table_unknown(self) -> None:
        """Count the one dead letter of a table that no schema has; its updates are counted as passed over."""
        self._metrics.dead_letters.labels(_letter(UnknownTableError)).inc()

    def gap(self, gap: Gap) -> None:
        """Count missing segments, which are a dead letter where it is certain that changes were in them."""
        self._metrics.gaps.labels(gap.reason.value).inc()
        if gap.certain:
            self._metrics.dead_letters.labels("segment").inc()


def _letter(problem: type[CommitLogError]) -> str:
    return "segment" if issubclass(problem, DamagedSegmentError) else "mutation"


class DriftMetrics:
    """Shows what the last comparison of rows and documents left."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def told(self, object_type: str, counts: Mapping[str, int]) -> None:
        """Show how many documents of an object type differ, by the kind of difference."""
        for kind, count in counts.items():
            self._metrics.drift_documents.labels(object_type, kind).set(count)
        self._metrics.drift_compared_timestamp_seconds.labels(object_type).set(time.time())
