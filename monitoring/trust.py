"""Panels of correctness, and of the resources that the daemons use."""

from __future__ import annotations

from monitoring.panels import Panel, Query
from monitoring.queries import RATE


def correctness() -> list[Panel]:
    """Return the panels of lost changes and differences."""
    return [
        Panel(
            "Dead letters",
            "Changes that could not be replicated, in the last five minutes, by reason.",
            "short",
            [Query("sum by (reason) (increase(cdc_daemon_dead_letters_total{of}[5m]))", "{{reason}}")],
            width=8,
            stacked=True,
        ),
        Panel(
            "Damage and gaps",
            "Pieces of segments that could not be decoded and holes in the sequence of segments, in the last five "
            "minutes; copies of damaged segments in quarantine.",
            "short",
            [
                Query("sum(increase(cdc_daemon_decode_errors_total{of}[5m]))", "not decoded"),
                Query("sum(increase(cdc_daemon_gaps_total{of}[5m]))", "gaps"),
                Query("sum(cdc_daemon_quarantined_segments{of})", "in quarantine"),
            ],
            width=8,
        ),
        Panel(
            "Second reads",
            "Rows per second that were read once more because they did not show their change yet.",
            "ops",
            [Query(f"sum(rate(cdc_daemon_second_reads_total{{of}}[{RATE}]))", "rows")],
            width=8,
        ),
        Panel(
            "Drift",
            "Documents that differed from their rows in the last comparison and were not repaired: missing, different, "
            "or surplus. An audit compares a sample, cdc-daemon reconcile everything.",
            "short",
            [Query("sum by (type, kind) (cdc_daemon_drift_documents{of})", "{{type}} {{kind}}")],
            width=8,
            limit=1,
        ),
        Panel(
            "Age of the last comparison",
            "Time since documents were last compared with their rows, by object type.",
            "s",
            [Query("time() - max by (type) (cdc_daemon_drift_compared_timestamp_seconds{of})", "{{type}}")],
            width=8,
        ),
        Panel(
            "Not healed, or failing",
            "Parts of the log whose changes may be lost and whose tables are not compared yet; scheduled tasks "
            "(pollers, heartbeat, audits) whose last run failed.",
            "short",
            [
                Query("sum(cdc_daemon_reconcile_requests{of})", "parts not compared"),
                Query("sum(cdc_daemon_scheduled_work_failing{of})", "tasks failing"),
            ],
            width=8,
            limit=1,
        ),
    ]


def resources() -> list[Panel]:
    """Return the panels of memory, CPU and disk."""
    return [
        Panel(
            "Memory",
            "Resident memory of the daemons' processes.",
            "bytes",
            [Query("process_resident_memory_bytes{of}", "{{instance}}")],
            width=8,
        ),
        Panel(
            "CPU",
            "Cores that the daemons' processes use.",
            "short",
            [Query(f"rate(process_cpu_seconds_total{{of}}[{RATE}])", "{{instance}}")],
            width=8,
            decimals=2,
        ),
        Panel(
            "State on disk",
            "The daemon's own database, and the free space on its file system.",
            "bytes",
            [
                Query("cdc_daemon_store_bytes{of}", "{{instance}} database"),
                Query("cdc_daemon_state_free_bytes{of}", "{{instance}} free"),
            ],
            width=8,
        ),
    ]
