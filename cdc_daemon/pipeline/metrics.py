"""The metrics of the pipeline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cdc_daemon.model.errors import NOT_BUILT
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.ports import Flow
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.observations import Observations
from cdc_daemon.telemetry.tracing import ChangeTracer


class PipelineMetrics:
    """Counts the documents that the pipeline settles, and measures the lag.

    It is called for every document, so it only counts; `show` exports the counts, once a second. A change with a span
    adds its trace's id to the lag as an exemplar, which OpenMetrics exposes. `aliases` are those that each table's
    mappings write to.
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
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._lags: dict[TableName, Observations] = {}
        for reason in ("document", *NOT_BUILT):
            metrics.dead_letters.labels(reason)

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        """Count a document by its outcome; without an alias, count one for each of the table's mappings."""
        # A row that only other rows' documents show has no alias of its own.
        for each in (alias,) if alias else self._aliases.get(table, ("",)):
            self._outcomes[each, outcome] += 1

    def set_aside(self, reasons: Sequence[str]) -> None:
        """Count documents that are newly kept as dead letters; all rejected documents share one reason here."""
        for reason in reasons:
            self._metrics.dead_letters.labels(reason if reason in NOT_BUILT else "document").inc()

    def shown(self, table: TableName, oldest: int) -> None:
        """Measure the time from the oldest change of a key until it was written."""
        if not oldest:
            return
        lags = self._lags.get(table)
        if lags is None:
            lags = self._lags[table] = Observations(self._metrics.replication_lag_seconds.labels(*table))
        now = time.time()
        lag = max(now - oldest / 1e6, 0.0)
        trace = None if self._tracer is None else self._tracer.acknowledged(table, oldest / 1e6, now)
        if trace is None:
            lags.add(lag)
        else:
            lags.histogram.observe(lag, {"trace_id": trace})
        written = min(oldest, int(now * 1e6))  # of a writer's clock ahead it would stand still until that moment
        if written > self._newest.get(table, 0):
            self._newest[table] = written

    def second_reads(self, count: int) -> None:
        """Count rows that were read a second time."""
        self._metrics.second_reads.inc(count)

    def retried(self, reason: str, count: int) -> None:
        """Count nothing: the bulk writer already counts retries by its own, bounded reasons."""

    def show(self) -> None:
        """Export what was counted since the last call."""
        for (alias, outcome), count in self._outcomes.items():
            self._metrics.documents.labels(alias, outcome).inc(count)
        self._outcomes.clear()
        for lags in self._lags.values():
            lags.show()
        for table, written in self._newest.items():
            self._metrics.last_acknowledged_write_timestamp_seconds.labels(*table).set(written / 1e6)


class FlowMetrics:
    """Exports the coalescer's counts. The coalescer only counts, because it handles every signal."""

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
        """Advance the counters to the coalescer's counts."""
        for counter, now, before in zip(self._counters, flow, self._shown, strict=True):
            counter.inc(now - before)
        self._shown = flow
