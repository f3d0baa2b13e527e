"""The daemon's metrics, named by the rules of Prometheus.

Labels are bounded: tables and aliases come from the configuration, every other label from a short list in the
code. Times are exported as timestamps, so that a reader can distinguish a standstill from an old value.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import platform
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from cdc_daemon import __version__

LAG_BUCKETS = (
    *(0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600),
)
"""Seconds: fine in the range of a healthy daemon, coarse up to an outage of an hour."""

_BULK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REQUEST_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BULK_DOCUMENTS = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
_BULK_BYTES = tuple(4**power * 1024 for power in range(9))

_TABLE = ("keyspace", "table")

# In the text format each counter would get an extra gauge: a tenth more series, which nothing here uses.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Description(NamedTuple):
    """One metric: its exported name, `counter`, `gauge`, `histogram` or `info`, its labels, its meaning."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """The daemon's metrics in their own registry, so that several daemons can run in one process.

    Each attribute is a metric of prometheus-client. Its exported name is `cdc_daemon_` plus the attribute's name, plus
    `_total` for a counter. `descriptions` lists them; docs/metrics.md is generated from it.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.descriptions: list[Description] = []
        self._freshness()
        self._backlog()
        self._flow()
        self._trouble()
        self._other_sources()
        self._surroundings()
        self._requests()
        ProcessCollector(registry=self.registry)
        self._info(
            "build",
            "The daemon's version and what it runs on.",
            version=__version__,
            python=platform.python_version(),
            implementation=platform.python_implementation(),
        )

    def _freshness(self) -> None:
        self.replication_lag_seconds = self._histogram(
            "replication_lag_seconds",
            "Time from a change's write time in Cassandra to its acknowledgement by Elasticsearch.",
            LAG_BUCKETS,
            _TABLE,
        )
        self.last_acknowledged_write_timestamp_seconds = self._gauge(
            "last_acknowledged_write_timestamp_seconds",
            "Newest write time among the changes that Elasticsearch has acknowledged.",
            _TABLE,
        )
        self.heartbeat_timestamp_seconds = self._gauge(
            "heartbeat_timestamp_seconds", "When a stage of the daemon last showed that it is alive.", ("stage",)
        )

        self.ready = self._gauge(
            "ready",
            "1 while the daemon replicates, 0 while it stops or starts, and so waits for Cassandra, tables or "
            "Elasticsearch.",
        )
        self.heartbeat_written_timestamp_seconds = self._gauge(
            "heartbeat_written_timestamp_seconds",
            "When the heartbeat's row was last written to Cassandra; it is shown when the table's last acknowledged "
            "write is as new.",
            _TABLE,
        )

    def _backlog(self) -> None:
        self.backlog_bytes = self._gauge("backlog_bytes", "Bytes in CDC segments that are not acknowledged yet.")
        self.backlog_segments = self._gauge("backlog_segments", "CDC segments that are not acknowledged yet.")
        self.oldest_unacknowledged_segment_timestamp_seconds = self._gauge(
            "oldest_unacknowledged_segment_timestamp_seconds",
            "When the oldest CDC segment not acknowledged yet was last changed on disk; 0 when there is none.",
        )
        self.cdc_raw_segments = self._gauge("cdc_raw_segments", "Segments in cdc_raw.")
        self.checkpoint_segment_id = self._gauge(
            "checkpoint_segment_id", "Id of the segment that the durable checkpoint is in."
        )
        self.cdc_raw_bytes = self._gauge("cdc_raw_bytes", "Bytes in cdc_raw as Cassandra counts them.")
        self.cdc_raw_limit_bytes = self._gauge(
            "cdc_raw_limit_bytes", "Bytes in cdc_raw at which Cassandra rejects writes to CDC tables."
        )
        self.pending = self._gauge("pending", "Changed keys that wait or are in work.")

    def _flow(self) -> None:
        self.mutations = self._counter(
            "mutations", "Changes decoded from CDC segments, by how much of a table they speak of.", (*_TABLE, "scope")
        )
        self.signals = self._counter("signals", "Signals handed to the pipeline by its sources.")
        self.signals_left = self._counter(
            "signals_left",
            "Signals of the log left to the daemon of the key's first live replica (commit_log.ownership).",
        )
        self.signals_taken_over = self._counter(
            "signals_taken_over", "Signals acted on after all, as the node to which they were left went down."
        )
        self.signals_taken = self._counter(
            "signals_taken",
            "Signals taken in by the pipeline, those included that a removal or a static change means for its rows.",
        )
        self.signals_coalesced = self._counter(
            "signals_coalesced", "Signals that joined a key which was pending already."
        )
        self.keys_settled = self._counter(
            "keys_settled", "Keys settled: rows, each by its documents, and partitions, each by its rows.", ("scope",)
        )
        self.keys_forgotten = self._counter("keys_forgotten", "Keys asked for that nobody waited for any more.")
        self.documents = self._counter(
            "documents",
            "Documents settled: indexed, deleted, superseded, filtered or dead_lettered. The alias is empty for rows "
            "that only other rows' documents show.",
            ("alias", "outcome"),
        )
        self.bulk_duration_seconds = self._histogram(
            "bulk_duration_seconds", "Time a bulk request took.", _BULK_SECONDS
        )
        self.bulk_documents = self._histogram("bulk_documents", "Documents in a bulk request.", _BULK_DOCUMENTS)
        self.bulk_bytes = self._histogram("bulk_bytes", "Bytes in a bulk request.", _BULK_BYTES)
        self.cassandra_available = self._gauge(
            "cassandra_available",
            "1 while Cassandra answers reads, else 0: judged by the rows that are read, and by a probe.",
        )
        self.elasticsearch_available = self._gauge(
            "elasticsearch_available",
            "1 while Elasticsearch as a whole is believed to take writes, else 0; single indices have alias_available.",
        )
        self.alias_available = self._gauge(
            "alias_available",
            "1 while the index behind an alias is believed to take writes, else 0, as while it is blocked, closed or "
            "missing.",
            ("alias",),
        )
        self.alias_trouble = self._gauge(
            "alias_trouble",
            "1 while the index behind an alias takes no writes, by the type of the error that Elasticsearch answers; "
            "absent otherwise.",
            ("alias", "reason"),
        )
        self.segments_released = self._counter(
            "segments_released", "CDC segments deleted after everything in them was acknowledged."
        )

    def _other_sources(self) -> None:
        self.poll_watermark_timestamp_seconds = self._gauge(
            "poll_watermark_timestamp_seconds", "Up to when the poller has seen a table's changes.", _TABLE
        )
        self.poll_interval_seconds = self._gauge(
            "poll_interval_seconds", "How often the poller asks a table for its changes, as configured.", _TABLE
        )
        self.poll_rows = self._counter(
            "poll_rows",
            "Changed rows that a poller met: handed on (submitted), seen just so before (known), or shown already by a "
            "later read (fresh).",
            (*_TABLE, "outcome"),
        )
        self.poll_untimed_rows = self._gauge(
            "poll_untimed_rows",
            "Rows that told neither a moment nor a write time in a poller's last turn: their changes are not seen.",
            _TABLE,
        )
        self.expiries_waiting = self._gauge(
            "expiries_waiting", "Expiries of rows and values that are waited for: about one for each row with a TTL."
        )
        self.rows_expired = self._counter("rows_expired", "Rows read again because something of them has expired.")
        self.documents_swept = self._counter(
            "documents_swept",
            "Documents held against their rows because a table was truncated, dropped or created again.",
        )
        self.spooled_keys = self._gauge(
            "spooled_keys", "Changed keys that wait in the state directory, as cdc_raw was filling."
        )
        self.keys_spooled = self._counter(
            "keys_spooled",
            "Changed keys that went to the state directory (out) and came back and were settled (in).",
            ("direction",),
        )
        self.dependents_waiting = self._gauge(
            "dependents_waiting", "Changed rows whose dependent documents are still to be refreshed."
        )
        self.dependents_refreshed = self._counter(
            "dependents_refreshed",
            "Documents built anew because a row of this table, which they show, had changed.",
            _TABLE,
        )
        self.dependents_failed = self._counter(
            "dependents_failed",
            "Refreshes of documents that show a changed row of this table which failed, and are tried again.",
            _TABLE,
        )
        self.drift_documents = self._gauge(
            "drift_documents",
            "Documents that differed from their rows when they were last compared, and were not repaired: missing, "
            "different, or surplus without a row.",
            ("type", "kind"),
        )
        self.drift_compared_timestamp_seconds = self._gauge(
            "drift_compared_timestamp_seconds", "When documents were last compared with their rows.", ("type",)
        )
        self.scheduled_work_failing = self._gauge(
            "scheduled_work_failing",
            "1 while the last turn of what comes round has failed, else 0: pollers, expired values, audits and so on.",
            ("work",),
        )

    def _surroundings(self) -> None:
        self.certificate_expiry_timestamp_seconds = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "When a certificate that the configuration names ends; of authorities' certificates, the last one.",
            ("certificate",),
        )
        self.store_bytes = self._gauge("store_bytes", "Bytes that the daemon's own database takes up on disk.")
        self.state_lost = self._gauge(
            "state_lost",
            "1 while the state's files are not those that the daemon opened, so that it acknowledges nothing, else 0.",
        )
        self.state_free_bytes = self._gauge(
            "state_free_bytes", "Bytes that are free for the daemon on the file system of its state directory."
        )

    def _trouble(self) -> None:
        self.retries = self._counter("retries", "Documents tried once more, by reason.", ("reason",))
        self.suspect_documents = self._gauge(
            "suspect_documents",
            "Documents that a bulk request without an answer may still write, and that are looked at again until then.",
        )
        self.documents_written_late = self._counter(
            "documents_written_late",
            "Documents that a bulk request without an answer wrote after they were settled; their rows were read "
            "again.",
        )
        self.second_reads = self._counter(
            "second_reads", "Rows read once more because they did not show their change yet."
        )
        self.decode_errors = self._counter(
            "decode_errors", "Pieces of CDC segments that could not be decoded.", ("kind",)
        )
        self.updates_passed_over = self._counter(
            "updates_passed_over", "Updates in CDC segments that are no mapped table's business.", ("reason",)
        )
        self.quarantined_segments = self._gauge(
            "quarantined_segments", "Damaged CDC segments of which a copy is kept in the quarantine folder."
        )
        self.reconcile_requests = self._gauge(
            "reconcile_requests",
            "Stretches of the log whose changes are lost, or may be, and that nobody has compared with Cassandra yet.",
            ("reason",),
        )
        self.gaps = self._counter(
            "gaps", "Holes found in the sequence of CDC segments: changes that may be lost.", ("reason",)
        )
        self.dead_letters = self._counter(
            "dead_letters",
            "Changes set aside because they cannot be replicated as they are: documents that Elasticsearch does not "
            "take (document) or that cannot be built (HookError and the like), mutations, segments. All mutations of a "
            "table that no schema has count once.",
            ("reason",),
        )
        self.dead_letters_kept = self._gauge(
            "dead_letters_kept", "Dead letters that are kept: neither replayed nor dropped yet."
        )
        self.open_jobs = self._gauge("open_jobs", "Jobs that were asked for and are not finished.")

    def _requests(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "Requests for rows and operators' requests, by the answer's status.", ("route", "status")
        )
        self.http_request_duration_seconds = self._histogram(
            "http_request_duration_seconds", "Time a request took.", _REQUEST_SECONDS, ("route",)
        )
        self.paused = self._gauge("paused", "1 while an operator holds the commit log's changes back, else 0.")

    def _info(self, name: str, text: str, **values: str) -> None:
        self._describe(f"{name}_info", "info", tuple(values), text)
        Info(f"cdc_daemon_{name}", text, registry=self.registry).info(values)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        self._describe(f"{name}_total", "counter", labels, text)
        return Counter(f"cdc_daemon_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        self._describe(name, "gauge", labels, text)
        return Gauge(f"cdc_daemon_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
        self._describe(name, "histogram", labels, text)
        return Histogram(f"cdc_daemon_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _describe(self, name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
        self.descriptions.append(Description(f"cdc_daemon_{name}", kind, labels, text))
