"""Panels of the daemon's work: changes, bulk requests, removals and joined rows, requests."""

from __future__ import annotations

from monitoring.panels import Panel, Query
from monitoring.queries import BULK, HTTP, RATE, mean, quantiles, rate


def throughput() -> list[Panel]:
    """Return the panels of throughput and its sources."""
    return [
        Panel(
            "Documents by outcome",
            "Documents per second by outcome: indexed, deleted, marked as removed, superseded by a fresher read, "
            "filtered, or dead.",
            "ops",
            [Query(rate("cdc_daemon_documents_total", "outcome"), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Changes by source",
            "Changes read from the commit log and rows found by the poller, per second.",
            "ops",
            [
                Query(rate("cdc_daemon_mutations_total", "keyspace", "table"), "log {{keyspace}}.{{table}}"),
                Query(rate("cdc_daemon_poll_rows_total", "keyspace", "table"), "poll {{keyspace}}.{{table}}"),
            ],
        ),
        Panel(
            "Changes joined",
            "Signals accepted, and those merged into an already pending key: work that was saved.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_signals_taken_total{{of}}[{RATE}]))", "accepted"),
                Query(f"sum(rate(cdc_daemon_signals_coalesced_total{{of}}[{RATE}]))", "merged"),
            ],
        ),
        Panel(
            "Age of the poller's watermark",
            "Age of the newest time up to which the poller has read each polled table.",
            "s",
            [
                Query(
                    "time() - min by (keyspace, table) (cdc_daemon_poll_watermark_timestamp_seconds{of})",
                    "{{keyspace}}.{{table}}",
                )
            ],
        ),
        Panel(
            "Removed rows are gone within",
            "Time within which a removed row of a polled table is gone from search, and the age of the last complete "
            "search for removed rows.",
            "s",
            [
                Query("max by (keyspace, table) (cdc_daemon_deletes_bound_seconds{of})", "{{keyspace}}.{{table}}"),
                Query(
                    "time() - max by (keyspace, table) (cdc_daemon_deletes_searched_timestamp_seconds{of})",
                    "last search of {{keyspace}}.{{table}}",
                ),
            ],
        ),
        Panel(
            "Documents of removed rows",
            "Documents per second that were removed because a delete pass found no row for them.",
            "ops",
            [Query(rate("cdc_daemon_deletes_removed_total", "keyspace", "table"), "{{keyspace}}.{{table}}")],
        ),
        Panel(
            "Changes left to other daemons",
            "Changes per second that were left to the daemon of the key's first replica (commit_log.ownership: "
            "primary), that it has confirmed, and that were written here instead, by reason.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_changes_left_total{{of}}[{RATE}]))", "left"),
                Query(f"sum(rate(cdc_daemon_changes_confirmed_total{{of}}[{RATE}]))", "confirmed"),
                Query(rate("cdc_daemon_changes_settled_here_total", "reason"), "written here: {{reason}}"),
            ],
        ),
        Panel(
            "Unconfirmed changes",
            "Changes that were left to other daemons and are not confirmed yet, and daemons that do not answer.",
            "short",
            [
                Query("sum(cdc_daemon_changes_unconfirmed{of})", "unconfirmed"),
                Query("max(cdc_daemon_peers_silent{of})", "silent daemons"),
            ],
        ),
        Panel(
            "Rows that tell no time",
            "Rows of polled tables without any timestamp in the last run, as counted by the daemon that found most: "
            "polling does not see their changes; cdc-daemon reconcile does.",
            "short",
            [Query("max by (keyspace, table) (cdc_daemon_poll_untimed_rows{of})", "{{keyspace}}.{{table}}")],
        ),
    ]


def elasticsearch() -> list[Panel]:
    """Return the panels of the two servers."""
    return [
        Panel("Bulk latency", "Time that bulk requests took.", "s", quantiles(BULK)),
        Panel(
            "Rejections and other retries",
            "Documents retried per second. overload: the search engine is overloaded; refused: an operator must act; "
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
            "1 while the search engine accepts writes, as a whole and through each alias, as far as the daemon knows. "
            "The alert CdcIndexTakesNoWrites gives the reason for an alias that does not.",
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
    """Return the panels of changes that are not in the log as changes of the row itself."""
    return [
        Panel(
            "Removals without a change",
            "Rows read again because a value expired, and documents compared with their rows because a table was "
            "truncated, dropped or created again, per second: the commit log has no change for these.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_rows_expired_total{{of}}[{RATE}]))", "rows expired"),
                Query(f"sum(rate(cdc_daemon_documents_swept_total{{of}}[{RATE}]))", "documents swept"),
            ],
            width=8,
        ),
        Panel(
            "Dependents refreshed",
            "Documents rebuilt per second because a row of another table that they show has changed, and "
            "refreshes that failed and are retried.",
            "ops",
            [
                Query(rate("cdc_daemon_dependents_refreshed_total", "keyspace", "table"), "{{keyspace}}.{{table}}"),
                Query(rate("cdc_daemon_dependents_failed_total", "keyspace", "table"), "{{keyspace}}.{{table}} failed"),
            ],
            width=8,
        ),
        Panel(
            "To be done later",
            "Expected expiries of rows and values, changed rows whose dependent documents are not refreshed "
            "yet, and documents that a lost bulk request may still write.",
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
    """Return the panels of HTTP requests and jobs."""
    return [
        Panel(
            "Requests",
            "Requests for rows and operators' requests per second, by route and status.",
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
