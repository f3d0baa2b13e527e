"""Panels of what is wrong, or may be, and of what the daemons use."""

from __future__ import annotations

from monitoring.panels import Panel, Query
from monitoring.queries import RATE


def correctness() -> list[Panel]:
    """Show what is wrong, or may be."""
    return [
        Panel(
            "Dead letters",
            "Changes set aside because they cannot be replicated as they are, in the last five minutes, by what they "
            "are.",
            "short",
            [Query("sum by (reason) (increase(cdc_daemon_dead_letters_total{of}[5m]))", "{{reason}}")],
            width=8,
            stacked=True,
        ),
        Panel(
            "Damage and gaps",
            "Pieces of segments that could not be decoded and holes in the sequence of segments, in the last five "
            "minutes; damaged segments of which a copy is kept.",
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
            "Rows read once more, a second, because they did not show their change yet.",
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
            "Stretches of the log whose changes may be lost and that nobody has compared yet; work that comes round "
            "(pollers, heartbeat, audits) whose last turn has failed.",
            "short",
            [
                Query("sum(cdc_daemon_reconcile_requests{of})", "stretches not compared"),
                Query("sum(cdc_daemon_scheduled_work_failing{of})", "work failing"),
            ],
            width=8,
            limit=1,
        ),
    ]


def resources() -> list[Panel]:
    """Show what the daemons use."""
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
            "The daemon's own database, and what is free on its file system.",
            "bytes",
            [
                Query("cdc_daemon_store_bytes{of}", "{{instance}} database"),
                Query("cdc_daemon_state_free_bytes{of}", "{{instance}} free"),
            ],
            width=8,
        ),
    ]
