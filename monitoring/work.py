"""Panels of what is being worked off: changes, bulk requests, what follows of itself, requests."""

from __future__ import annotations

from monitoring.panels import Panel, Query
from monitoring.queries import BULK, HTTP, RATE, mean, quantiles, rate


def throughput() -> list[Panel]:
    """Show what is worked off, and where it comes from."""
    return [
        Panel(
            "Documents by outcome",
            "Documents settled a second: indexed, deleted, superseded by a fresher read, filtered, or set aside.",
            "ops",
            [Query(rate("cdc_daemon_documents_total", "outcome"), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Changes by source",
            "Changes read from the commit log and rows found by the poller, a second.",
            "ops",
            [
                Query(rate("cdc_daemon_mutations_total", "keyspace", "table"), "log {{keyspace}}.{{table}}"),
                Query(rate("cdc_daemon_poll_rows_total", "keyspace", "table"), "poll {{keyspace}}.{{table}}"),
            ],
        ),
        Panel(
            "Changes joined",
            "Signals taken in, and those that joined a key which was pending already: work that was spared.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_signals_taken_total{{of}}[{RATE}]))", "taken in"),
                Query(f"sum(rate(cdc_daemon_signals_coalesced_total{{of}}[{RATE}]))", "joined"),
            ],
        ),
        Panel(
            "Age of the poller's watermark",
            "Up to how long ago the poller has seen each polled table's changes.",
            "s",
            [
                Query(
                    "time() - min by (keyspace, table) (cdc_daemon_poll_watermark_timestamp_seconds{of})",
                    "{{keyspace}}.{{table}}",
                )
            ],
        ),
        Panel(
            "Changes left to other daemons",
            "Signals of the log a second that were left to the daemon of the key's first live replica (commit_log."
            "ownership: primary), and those of them acted on after all, as that node went down.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_signals_left_total{{of}}[{RATE}]))", "left"),
                Query(f"sum(rate(cdc_daemon_signals_taken_over_total{{of}}[{RATE}]))", "taken over"),
            ],
        ),
        Panel(
            "Rows that tell no time",
            "Rows of polled tables that told neither a moment nor a write time in the last turn, as the daemon that "
            "met most of them counts: their changes are not seen by polling, only by cdc-daemon reconcile.",
            "short",
            [Query("max by (keyspace, table) (cdc_daemon_poll_untimed_rows{of})", "{{keyspace}}.{{table}}")],
        ),
    ]


def elasticsearch() -> list[Panel]:
    """Return the panels of how the two servers do."""
    return [
        Panel("Bulk latency", "Time that bulk requests took.", "s", quantiles(BULK)),
        Panel(
            "Rejections and other retries",
            "Documents tried once more, a second. overload: Elasticsearch had no room; refused: an operator is needed; "
            "connection: no answer; stale_body: built too long ago, so read again.",
            "ops",
            [Query(rate("cdc_daemon_retries_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Bulk size",
            "Documents in a bulk request, on average.",
            "short",
            [Query(mean("cdc_daemon_bulk_documents"), "documents")],
        ),
        Panel(
            "Takes writes",
            "1 while the daemon believes that Elasticsearch takes writes, as a whole and through each alias. The alert "
            "CdcIndexTakesNoWrites says why an alias takes none.",
            "bool_yes_no",
            [
                Query("cdc_daemon_elasticsearch_available{of}", "{{instance}}"),
                Query("cdc_daemon_alias_available{of}", "{{instance}} {{alias}}"),
            ],
        ),
        Panel(
            "Cassandra answers",
            "1 while Cassandra answers the daemon's reads or probes.",
            "bool_yes_no",
            [Query("cdc_daemon_cassandra_available{of}", "{{instance}}")],
        ),
    ]


def followed() -> list[Panel]:
    """Show what no change of the row itself tells."""
    return [
        Panel(
            "Removals without a change",
            "Rows read again because something of them expired, and documents held against their rows because a table "
            "was truncated, dropped or created again, a second: the commit log has no change of these.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_rows_expired_total{{of}}[{RATE}]))", "rows expired"),
                Query(f"sum(rate(cdc_daemon_documents_swept_total{{of}}[{RATE}]))", "documents swept"),
            ],
            width=8,
        ),
        Panel(
            "Dependents refreshed",
            "Documents built anew, a second, because a row of another table, which they show, had changed, and "
            "refreshes that failed and are tried again.",
            "ops",
            [
                Query(rate("cdc_daemon_dependents_refreshed_total", "keyspace", "table"), "{{keyspace}}.{{table}}"),
                Query(rate("cdc_daemon_dependents_failed_total", "keyspace", "table"), "{{keyspace}}.{{table}} failed"),
            ],
            width=8,
        ),
        Panel(
            "To be done later",
            "Expiries of rows and values that are waited for, changed rows whose dependent documents are still to be "
            "refreshed, and documents that a lost bulk request may still write.",
            "short",
            [
                Query("sum(cdc_daemon_expiries_waiting{of})", "expiries"),
                Query("sum(cdc_daemon_dependents_waiting{of})", "rows with dependents"),
                Query("sum(cdc_daemon_suspect_documents{of})", "documents of lost requests"),
            ],
            width=8,
        ),
    ]


def requests() -> list[Panel]:
    """Show what people and programs ask for."""
    return [
        Panel(
            "Requests",
            "Requests for rows and operators' requests a second, by what they asked for and the answer's status.",
            "reqps",
            [Query(rate("cdc_daemon_http_requests_total", "route", "status"), "{{route}} {{status}}")],
            width=8,
            stacked=True,
        ),
        Panel("Time of requests", "Time that requests took until they were answered.", "s", quantiles(HTTP), width=8),
        Panel(
            "Open jobs",
            "Asynchronous requests, backfills and reconciles that are not finished.",
            "short",
            [Query("cdc_daemon_open_jobs{of}", "{{instance}}")],
            width=8,
        ),
    ]
