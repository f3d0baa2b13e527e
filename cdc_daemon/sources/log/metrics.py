"""The metrics of the log tail."""

from __future__ import annotations

from collections.abc import Callable

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.errors import (
    CommitLogError,
    DamagedSegmentError,
    MutationError,
    UnknownTableError,
    UnsupportedSegmentError,
)
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.log.gaps import Gap, GapReason
from cdc_daemon.telemetry.metrics import Metrics

_UNREADABLE = (DamagedSegmentError, MutationError, UnknownTableError, UnsupportedSegmentError)


def _letter(problem: type[CommitLogError]) -> str:
    return "segment" if issubclass(problem, DamagedSegmentError) else "mutation"


class TailMetrics:
    """Counts the changes read and the segments released. `on_listed` gets the bytes in the folders, all and active."""

    def __init__(self, metrics: Metrics, on_listed: Callable[[int, int], None] = lambda _bytes, _active: None) -> None:
        self._metrics = metrics
        self._on_listed = on_listed
        for reason in GapReason:
            metrics.gaps.labels(reason.value)
        for kind in _UNREADABLE:
            metrics.decode_errors.labels(kind.__name__)
            metrics.dead_letters.labels(_letter(kind))

    def read(self, table: TableName, scope: str, count: int) -> None:
        """Count changes by table and scope."""
        self._metrics.mutations.labels(*table, scope).inc(count)
        self._metrics.signals.inc(count)

    def passed_over(self, reason: str, count: int) -> None:
        """Count updates without a signal."""
        self._metrics.updates_passed_over.labels(reason).inc(count)

    def listed(self, segments: int, total_bytes: int, active_bytes: int) -> None:
        """Record the segments and bytes in the folders."""
        self._metrics.cdc_raw_segments.set(segments)
        self._metrics.cdc_raw_bytes.set(total_bytes)
        self._on_listed(total_bytes, active_bytes)

    def saved(self, position: Position) -> None:
        """Record the segment of the durable checkpoint."""
        self._metrics.checkpoint_segment_id.set(position.segment_id)

    def released(self, segment_id: int, size: int) -> None:  # noqa: ARG002 -- counted, not named: ids have no end
        """Count a segment that was deleted."""
        self._metrics.segments_released.inc()

    def unreadable(self, problem: CommitLogError) -> None:
        """Count an unreadable piece of a segment, which is a dead letter."""
        self._metrics.decode_errors.labels(type(problem).__name__).inc()
        self._metrics.dead_letters.labels(_letter(type(problem))).inc()

    def table_unknown(self) -> None:
        """Count the one dead letter of an unknown table; its updates are counted as passed over."""
        self._metrics.dead_letters.labels(_letter(UnknownTableError)).inc()

    def gap(self, gap: Gap) -> None:
        """Count missing segments, which are a dead letter if they certainly held changes."""
        self._metrics.gaps.labels(gap.reason.value).inc()
        if gap.certain:
            self._metrics.dead_letters.labels("segment").inc()
