"""Panels of the daemon's health: at a glance, freshness, backlog."""

from __future__ import annotations

from monitoring.panels import Panel, Query
from monitoring.queries import LAG, quantile, quantiles, rate


def glance() -> list[Panel]:
    """Return the panels that summarize the daemon's health."""
    return [
        Panel(
            "Late changes, last hour",
            "Share of the last hour's changes that took longer than 5 s. The service level allows 1 %. Polled tables "
            "count here, but not in the alerts.",
            "percentunit",
            [Query(f'1 - sum(rate({LAG}_bucket{{of,le="5.0"}}[1h])) / sum(rate({LAG}_count{{of}}[1h]))', "late")],
            width=4,
            number=True,
            limit=0.01,
            decimals=2,
        ),
        Panel(
            "Median time to be shown",
            "Half of the changes were acknowledged by the search engine sooner than this after their write time.",
            "s",
            [Query(quantile(0.5, LAG), "p50")],
            width=4,
            number=True,
            limit=5,
        ),
        Panel(
            "Waiting",
            "Changed keys that are waiting or in flight, of all selected daemons.",
            "short",
            [Query("sum(cdc_daemon_pending{of})", "keys")],
            width=4,
            number=True,
        ),
        Panel(
            "cdc_raw, fullest",
            "How full the fullest cdc_raw is. At 100 % Cassandra rejects writes to CDC tables.",
            "percentunit",
            [Query("max(cdc_daemon_cdc_raw_bytes{of} / (cdc_daemon_cdc_raw_limit_bytes{of} > 0))", "used")],
            width=4,
            number=True,
            limit=0.8,
            decimals=1,
        ),
        Panel(
            "Dead letters",
            "Changes that could not be replicated and were neither replayed nor dropped yet.",
            "short",
            [Query("sum(cdc_daemon_dead_letters_kept{of})", "kept")],
            width=4,
            number=True,
            limit=1,
        ),
        Panel(
            "Daemons",
            "Daemons that answer Prometheus; those that replicate (the others are starting, and wait for Cassandra, "
            "tables or the search engine, or are stopping); and those that an operator has paused.",
            "short",
            [
                Query("count(cdc_daemon_build_info{of})", "daemons"),
                Query("sum(cdc_daemon_ready{of})", "replicating"),
                Query("sum(cdc_daemon_paused{of})", "paused"),
            ],
            width=4,
            number=True,
        ),
    ]


def freshness() -> list[Panel]:
    """Return the panels of the replication lag."""
    return [
        Panel(
            "Time to be shown",
            "From a change's write time in Cassandra to its acknowledgement by the search engine. The line is the "
            "service level's 5 s.",
            "s",
            quantiles(LAG),
            limit=5,
        ),
        Panel(
            "Age of the newest shown change",
            "Time since the newest write time that the search engine has acknowledged. It also grows while nothing is "
            "written: compare it with the backlog.",
            "s",
            [
                Query(
                    "time() - max by (keyspace, table) (cdc_daemon_last_acknowledged_write_timestamp_seconds{of})",
                    "{{keyspace}}.{{table}}",
                )
            ],
        ),
    ]


def backlog() -> list[Panel]:
    """Return the panels of the backlog and its limits."""
    return [
        Panel(
            "cdc_raw against its limit",
            "Bytes in cdc_raw as Cassandra counts them, those of segments not acknowledged yet, and the limit at which "
            "Cassandra rejects writes.",
            "bytes",
            [
                Query("cdc_daemon_cdc_raw_bytes{of}", "{{instance}} cdc_raw"),
                Query("cdc_daemon_backlog_bytes{of}", "{{instance}} not acknowledged"),
                Query("cdc_daemon_cdc_raw_limit_bytes{of} > 0", "{{instance}} limit"),
            ],
        ),
        Panel(
            "Keys that wait",
            "Changed keys in memory, waiting or in flight, and those spooled to disk because cdc_raw was filling.",
            "short",
            [
                Query("cdc_daemon_pending{of}", "{{instance}} in memory"),
                Query("cdc_daemon_spooled_keys{of}", "{{instance}} on disk"),
            ],
        ),
        Panel(
            "Keys spooled",
            "Changed keys per second that were spooled to disk because cdc_raw was filling (out), and that were "
            "replayed and acknowledged (in).",
            "ops",
            [Query(rate("cdc_daemon_keys_spooled_total", "direction"), "{{direction}}")],
            width=8,
        ),
        Panel(
            "Segments",
            "CDC segments in cdc_raw, and those of them that are not acknowledged yet.",
            "short",
            [
                Query("cdc_daemon_cdc_raw_segments{of}", "{{instance}} in cdc_raw"),
                Query("cdc_daemon_backlog_segments{of}", "{{instance}} not acknowledged"),
            ],
            width=8,
        ),
        Panel(
            "Age of the oldest segment not acknowledged",
            "Time since the last change of the oldest CDC segment that is not acknowledged; 0 if all are.",
            "s",
            [
                Query(
                    "(time() - cdc_daemon_oldest_unacknowledged_segment_timestamp_seconds{of}) * "
                    "(cdc_daemon_oldest_unacknowledged_segment_timestamp_seconds{of} > bool 0)",
                    "{{instance}}",
                )
            ],
            width=8,
        ),
    ]
