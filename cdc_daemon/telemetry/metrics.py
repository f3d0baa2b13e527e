"""The daemon's metrics, named by the rules of Prometheus.

Labels are bounded: tables and aliases come from the configuration, every other label from a short list in the
code. Times are exported as timestamps, so that an old value can be distinguished from a stopped process.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import platform
from collections.abc import Collection
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
        self._throughput()
        self._errors()
        self._other_sources()
        self._certificates_and_state()
        self._requests()
        ProcessCollector(registry=self.registry)
        self._info(
            "build",
            "The daemon's version and what it runs on.",
            version=__version__,
            python=platform.python_version(),
            implementation=platform.python_implementation(),
        )

    def forget(self, *, aliases: Collection[str], tables: Collection[tuple[str, str]]) -> None:
        """Remove the gauges of aliases and of tables (keyspace, table) that are no longer configured."""
        for gauge in (each for each in vars(self).values() if isinstance(each, Gauge)):
            for labels in [sample.labels for family in gauge.collect() for sample in family.samples]:
                if labels.get("alias") in aliases or (labels.get("keyspace"), labels.get("table")) in tables:
                    gauge.remove(*labels.values())

    def _freshness(self) -> None:
        self.replication_lag_seconds = self._histogram(
            "replication_lag_seconds",
            "Time from a change's write time in Cassandra to its acknowledgement by the search engine.",
            LAG_BUCKETS,
            _TABLE,
        )
        self.last_acknowledged_write_timestamp_seconds = self._gauge(
            "last_acknowledged_write_timestamp_seconds",
            "Newest write time among the changes that the search engine has acknowledged.",
            _TABLE,
        )
        self.heartbeat_timestamp_seconds = self._gauge(
            "heartbeat_timestamp_seconds", "Time of the last heartbeat of a stage of the daemon.", ("stage",)
        )

        self.configuration_valid = self._gauge(
            "configuration_valid",
            "1 while the daemon has a usable configuration. 0 while `run --wait-for-config` waits for one.",
        )
        self.config_generation = self._gauge(
            "config_generation",
            "Number of the configuration in use: 1 after the start, one more after each reload that changed it.",
        )
        self.config_last_reload_successful = self._gauge(
            "config_last_reload_successful",
            "1 if the last reload of the configuration was successful, or there was none; 0 if it was refused.",
        )
        self.config_reloads = self._counter(
            "config_reloads", "Reloads of the configuration: applied, unchanged or refused.", ("result",)
        )
        self.ready = self._gauge(
            "ready",
            "1 while the daemon replicates. 0 while it stops, or while it starts and waits for Cassandra, a table or "
            "the search engine.",
        )
        self.heartbeat_written_timestamp_seconds = self._gauge(
            "heartbeat_written_timestamp_seconds",
            "Time of the last write of the heartbeat row to Cassandra. The row is replicated when the table's last "
            "acknowledged write is as new.",
            _TABLE,
        )

    def _backlog(self) -> None:
        self.backlog_bytes = self._gauge("backlog_bytes", "Bytes in unacknowledged CDC segments.")
        self.backlog_segments = self._gauge("backlog_segments", "Unacknowledged CDC segments.")
        self.oldest_unacknowledged_segment_timestamp_seconds = self._gauge(
            "oldest_unacknowledged_segment_timestamp_seconds",
            "Time of the last change on disk of the oldest unacknowledged CDC segment. 0 if there is none.",
        )
        self.cdc_raw_segments = self._gauge("cdc_raw_segments", "Segments in cdc_raw, and active ones of 3.11.")
        self.checkpoint_segment_id = self._gauge(
            "checkpoint_segment_id", "Id of the segment of the durable checkpoint."
        )
        self.cdc_raw_bytes = self._gauge("cdc_raw_bytes", "Bytes in cdc_raw as Cassandra counts them.")
        self.cdc_raw_limit_bytes = self._gauge(
            "cdc_raw_limit_bytes", "Bytes in cdc_raw at which Cassandra rejects writes to CDC tables."
        )
        self.pending = self._gauge("pending", "Changed keys that are waiting or in flight.")

    def _throughput(self) -> None:
        self.mutations = self._counter(
            "mutations",
            "Changes decoded from CDC segments, by scope: row, range, partition, or static columns.",
            (*_TABLE, "scope"),
        )
        self.signals = self._counter("signals", "Signals handed to the pipeline by its sources.")
        self.changes_left = self._counter(
            "changes_left",
            "Changes in the log that were left to the daemon of the key's first replica (commit_log.ownership).",
        )
        self.changes_confirmed = self._counter(
            "changes_confirmed", "Changes left to other daemons that these have confirmed as written."
        )
        self.changes_settled_here = self._counter(
            "changes_settled_here",
            "Other daemons' changes that this daemon wrote itself, by reason: unknown, in_flight, stored, no_answer, "
            "limit, space.",
            ("reason",),
        )
        self.changes_unconfirmed = self._gauge(
            "changes_unconfirmed", "Changes left to other daemons that are neither confirmed nor written here."
        )
        self.oldest_unconfirmed_timestamp_seconds = self._gauge(
            "oldest_unconfirmed_timestamp_seconds",
            "When the oldest unconfirmed change was read from the log; 0 if there is none.",
        )
        self.peers_silent = self._gauge(
            "peers_silent", "Daemons of the datacenter that have not answered for ten seconds."
        )
        self.signals_taken = self._counter(
            "signals_taken",
            "Signals accepted by the pipeline, including those for each row of a changed range or partition.",
        )
        self.signals_coalesced = self._counter("signals_coalesced", "Signals that were merged into a pending key.")
        self.keys_settled = self._counter(
            "keys_settled",
            "Completed keys: rows when their documents are written, partitions when their rows are.",
            ("scope",),
        )
        self.keys_forgotten = self._counter(
            "keys_forgotten",
            "Keys that were dropped: the client of a request no longer waited, or a table has another primary key and "
            "the changes are read from the log again.",
        )
        self.documents = self._counter(
            "documents",
            "Completed documents: indexed, deleted, marked (kept and marked as removed), superseded, filtered or "
            "dead_lettered. The alias is empty for rows that appear only in other rows' documents.",
            ("alias", "outcome"),
        )
        self.bulk_duration_seconds = self._histogram(
            "bulk_duration_seconds", "Duration of bulk requests.", _BULK_SECONDS
        )
        self.bulk_documents = self._histogram("bulk_documents", "Documents in a bulk request.", _BULK_DOCUMENTS)
        self.bulk_bytes = self._histogram("bulk_bytes", "Bytes in a bulk request.", _BULK_BYTES)
        self.cassandra_available = self._gauge(
            "cassandra_available",
            "1 while Cassandra answers reads or probes, else 0.",
        )
        self.elasticsearch_available = self._gauge(
            "elasticsearch_available",
            "1 while the search engine as a whole takes writes, else 0. See alias_available for single indices.",
        )
        self.search_engine = self._labelled_info(
            "search_engine",
            "The search engine that answers, and its release. The release is empty if the login may not ask for it.",
            ("engine", "version"),
        )
        self.alias_available = self._gauge(
            "alias_available",
            "1 while the index behind an alias takes writes, else 0: it is blocked, closed or missing.",
            ("alias",),
        )
        self.alias_trouble = self._gauge(
            "alias_trouble",
            "1 while the index behind an alias takes no writes, by the error type that the search engine returns. "
            "Absent otherwise.",
            ("alias", "reason"),
        )
        self.segments_released = self._counter(
            "segments_released", "CDC segments deleted after everything in them was acknowledged."
        )

    def _other_sources(self) -> None:
        self.poll_watermark_timestamp_seconds = self._gauge(
            "poll_watermark_timestamp_seconds",
            "Watermark of a polled table: all changes before this time were read.",
            _TABLE,
        )
        self.poll_interval_seconds = self._gauge(
            "poll_interval_seconds", "Configured interval between two polls of a table.", _TABLE
        )
        self.poll_rows = self._counter(
            "poll_rows",
            "Changed rows found by a poller: passed on (submitted), unchanged since the last poll (known), or already "
            "written by a later read (fresh).",
            (*_TABLE, "outcome"),
        )
        self.poll_untimed_rows = self._gauge(
            "poll_untimed_rows",
            "Rows without any timestamp in the last poll: their changes are not found.",
            _TABLE,
        )
        self.deletes_bound_seconds = self._gauge(
            "deletes_bound_seconds",
            "Time within which a removed row of a polled table is gone from search: the interval of the delete passes "
            "plus the duration of the last one. Absent before the first pass is complete.",
            _TABLE,
        )
        self.deletes_searched_timestamp_seconds = self._gauge(
            "deletes_searched_timestamp_seconds",
            "Start of the last complete delete pass of a polled table: rows removed before this time are gone from "
            "search.",
            _TABLE,
        )
        self.deletes_failing = self._gauge(
            "deletes_failing", "1 while the delete pass of a polled table fails or cannot start, else 0.", _TABLE
        )
        self.deletes_removed = self._counter(
            "deletes_removed", "Documents removed by delete passes because their rows no longer exist.", _TABLE
        )
        self.expiries_waiting = self._gauge(
            "expiries_waiting", "Pending expiries of rows and values: about one for each row with a TTL."
        )
        self.rows_expired = self._counter("rows_expired", "Rows read again because a value has expired.")
        self.documents_swept = self._counter(
            "documents_swept",
            "Documents compared with their rows because a table was truncated, dropped or re-created.",
        )
        self.spooled_keys = self._gauge(
            "spooled_keys", "Changed keys stored in the state directory because cdc_raw was filling."
        )
        self.keys_spooled = self._counter(
            "keys_spooled",
            "Changed keys moved to the state directory (out), and replicated from there (in).",
            ("direction",),
        )
        self.dependents_waiting = self._gauge(
            "dependents_waiting", "Changed rows with dependent documents that are not refreshed yet."
        )
        self.dependents_refreshed = self._counter(
            "dependents_refreshed",
            "Documents rebuilt because they include a changed row of this table.",
            _TABLE,
        )
        self.dependents_failed = self._counter(
            "dependents_failed",
            "Failed refreshes of documents that include a changed row of this table. They are retried.",
            _TABLE,
        )
        self.drift_documents = self._gauge(
            "drift_documents",
            "Documents that differed from their rows in the last comparison and were not repaired: missing, different, "
            "or surplus (without a row).",
            ("type", "kind"),
        )
        self.drift_compared_timestamp_seconds = self._gauge(
            "drift_compared_timestamp_seconds", "Time of the last comparison of documents with their rows.", ("type",)
        )
        self.scheduled_work_failing = self._gauge(
            "scheduled_work_failing",
            "1 if the last run of a scheduled task failed, else 0: pollers, expiries, audits and others.",
            ("work",),
        )

    def _certificates_and_state(self) -> None:
        self.certificate_expiry_timestamp_seconds = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "Expiry of a configured certificate. Of several authorities' certificates, the last expiry.",
            ("certificate",),
        )
        self.clock_ahead_seconds = self._gauge(
            "clock_ahead_seconds",
            "Seconds by which this machine's clock is ahead of the clocks of Cassandra's nodes and of the search "
            "engine (their median); negative if it is behind, 0 if none of them has answered.",
        )
        self.versions_ahead_seconds = self._gauge(
            "versions_ahead_seconds",
            "Seconds by which new documents' versions are ahead of this machine's clock. They step back after the "
            "clock was ahead and is right again.",
        )
        self.untrusted_versions_until_timestamp_seconds = self._gauge(
            "untrusted_versions_until_timestamp_seconds",
            "The highest document version that a clock ahead has issued, as a time. 0 if none is known.",
        )
        self.garbage_collections = self._counter(
            "garbage_collections", "Collections of Python's cyclic garbage collector.", ("generation",)
        )
        self.garbage_collection_seconds = self._counter(
            "garbage_collection_seconds",
            "Time for which collections of Python's cyclic garbage collector stopped the daemon.",
            ("generation",),
        )
        self.garbage_collection_longest_seconds = self._gauge(
            "garbage_collection_longest_seconds",
            "The longest collection of Python's cyclic garbage collector since the start.",
        )
        self.store_bytes = self._gauge("store_bytes", "Size of the daemon's database on disk in bytes.")
        self.state_lost = self._gauge(
            "state_lost",
            "1 if the state files were deleted, replaced or damaged, so that the daemon acknowledges nothing, else 0.",
        )
        self.state_free_bytes = self._gauge(
            "state_free_bytes", "Free bytes for the daemon on the file system of its state directory."
        )

    def _errors(self) -> None:
        self.retries = self._counter("retries", "Retried documents, by reason.", ("reason",))
        self.suspect_documents = self._gauge(
            "suspect_documents",
            "Documents that an unanswered bulk request may still write. They are checked again until it cannot.",
        )
        self.documents_written_late = self._counter(
            "documents_written_late",
            "Documents that an unanswered bulk request overwrote later. Their rows were read again.",
        )
        self.second_reads = self._counter(
            "second_reads", "Rows read again because the first read did not return their change."
        )
        self.decode_errors = self._counter(
            "decode_errors", "Parts of CDC segments that could not be decoded.", ("kind",)
        )
        self.updates_passed_over = self._counter(
            "updates_passed_over", "Skipped updates in CDC segments: they do not concern a mapped table.", ("reason",)
        )
        self.quarantined_segments = self._gauge(
            "quarantined_segments", "Copies of damaged CDC segments in the quarantine folder."
        )
        self.reconcile_requests = self._gauge(
            "reconcile_requests",
            "Sections of the log with lost or possibly lost changes that were not reconciled yet.",
            ("reason",),
        )
        self.gaps = self._counter(
            "gaps", "Gaps found in the sequence of CDC segments: their changes may be lost.", ("reason",)
        )
        self.dead_letters = self._counter(
            "dead_letters",
            "Changes that cannot be replicated: documents that the search engine rejects (document) or that cannot be "
            "built (such as HookError), mutations, segments. All mutations of an unknown table count once.",
            ("reason",),
        )
        self.dead_letters_kept = self._gauge(
            "dead_letters_kept", "Stored dead letters: neither replayed nor dropped yet."
        )
        self.open_jobs = self._gauge("open_jobs", "Unfinished jobs.")

    def _requests(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "Requests for rows and operators' requests, by response status.", ("route", "status")
        )
        self.http_request_duration_seconds = self._histogram(
            "http_request_duration_seconds", "Duration of requests.", _REQUEST_SECONDS, ("route",)
        )
        self.paused = self._gauge("paused", "1 while an operator has paused the commit log, else 0.")

        self.webhook_posts = self._counter(
            "webhook_posts",
            "Posts to the webhook, by event and result: delivered, failed (it is posted again), dropped (the event is "
            "given up).",
            ("event", "result"),
        )
        self.webhook_waiting = self._gauge("webhook_waiting", "Events that wait to be posted to the webhook.")

    def _info(self, name: str, text: str, **values: str) -> None:
        self._describe(f"{name}_info", "info", tuple(values), text)
        Info(f"cdc_daemon_{name}", text, registry=self.registry).info(values)

    def _labelled_info(self, name: str, text: str, labels: tuple[str, ...]) -> Info:
        self._describe(f"{name}_info", "info", labels, text)
        return Info(f"cdc_daemon_{name}", text, labels, registry=self.registry)

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
