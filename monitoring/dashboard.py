"""The Grafana dashboard: what is on it, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
    VariableSort,
)

from monitoring.panels import Panel, Query, build

TITLE = "cdc-daemon"
UID = "cdc-daemon"

_RATE = "$__rate_interval"
_LAG = "cdc_daemon_replication_lag_seconds"
_BULK = "cdc_daemon_bulk_duration_seconds"
_HTTP = "cdc_daemon_http_request_duration_seconds"


def _quantile(share: float, histogram: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{of}}[{_RATE}])))"


def _quantiles(histogram: str) -> list[Query]:
    return [Query(_quantile(share, histogram), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99)]


def _mean(histogram: str) -> str:
    return f"sum(rate({histogram}_sum{{of}}[{_RATE}])) / sum(rate({histogram}_count{{of}}[{_RATE}]))"


def _rate(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{of}}[{_RATE}]))"


def rows() -> Mapping[str, Sequence[Panel]]:
    """Return the dashboard's rows by their titles."""
    return {
        "At a glance": _glance(),
        "Freshness": _freshness(),
        "Backlog": _backlog(),
        "Throughput and sources": _throughput(),
        "Elasticsearch": _elasticsearch(),
        "Requests and jobs": _requests(),
        "Correctness": _correctness(),
        "Resources": _resources(),
    }


def filled_in(query: Query, *, job: str, instance: str, interval: str) -> str:
    """Return a query's text with the viewer's choices in it: regular expressions, and a duration."""
    text = query.text
    for name, value in {"$job": job, "$instance": instance, _RATE: interval}.items():
        text = text.replace(name, value)
    return text


def dashboard() -> str:
    """Return the dashboard's JSON as Grafana takes it in."""
    built = (
        builders.Dashboard(TITLE)
        .uid(UID)
        .description("Is Elasticsearch equal to Cassandra, how late is it, and what holds it up.")
        .tags(["cdc-daemon", "cassandra", "elasticsearch"])
        .timezone("browser")
        .refresh("15s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(builders.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(_choice("job", "Job", "label_values(cdc_daemon_build_info, job)"))
        .with_variable(_choice("instance", "Daemon", 'label_values(cdc_daemon_build_info{job=~"$job"}, instance)'))
    )
    for title, panels in rows().items():
        built.with_row(builders.Row(title))
        for panel in panels:
            built.with_panel(build(panel))
    # Numbers of panels are not set by the SDK; Grafana wants them to be different.
    made = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    for number, panel_json in enumerate(made["panels"], start=1):
        panel_json["id"] = number
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _choice(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DataSourceRef(type_val="prometheus", uid="${source}"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003 -- the SDK's own form
        .include_all(True)  # noqa: FBT003 -- likewise
        .all_value(".+")
    )


def _glance() -> list[Panel]:
    return [
        Panel(
            "Late changes, last hour",
            "Share of the last hour's changes that took longer than 5 s. The service level allows 1 %.",
            "percentunit",
            [Query(f'1 - sum(rate({_LAG}_bucket{{of,le="5.0"}}[1h])) / sum(rate({_LAG}_count{{of}}[1h]))', "late")],
            width=4,
            number=True,
            limit=0.01,
            decimals=2,
        ),
        Panel(
            "Median time to be shown",
            "Half of the changes were acknowledged by Elasticsearch sooner than this after their write time.",
            "s",
            [Query(_quantile(0.5, _LAG), "p50")],
            width=4,
            number=True,
            limit=5,
        ),
        Panel(
            "Waiting",
            "Changed keys that wait or are in work, of all chosen daemons.",
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
            "Changes that were set aside and neither replayed nor dropped yet.",
            "short",
            [Query("sum(cdc_daemon_dead_letters_kept{of})", "kept")],
            width=4,
            number=True,
            limit=1,
        ),
        Panel(
            "Daemons",
            "Daemons that answer Prometheus.",
            "short",
            [Query("count(cdc_daemon_build_info{of})", "daemons")],
            width=4,
            number=True,
        ),
    ]


def _freshness() -> list[Panel]:
    return [
        Panel(
            "Time to be shown",
            "From a change's write time in Cassandra to its acknowledgement by Elasticsearch. The line is the service "
            "level's 5 s.",
            "s",
            _quantiles(_LAG),
            limit=5,
        ),
        Panel(
            "Age of the newest shown change",
            "Time since the newest write time that Elasticsearch has acknowledged. It grows where nothing is written, "
            "too: compare it with the backlog.",
            "s",
            [
                Query(
                    "time() - max by (keyspace, table) (cdc_daemon_last_acknowledged_write_timestamp_seconds{of})",
                    "{{keyspace}}.{{table}}",
                )
            ],
        ),
    ]


def _backlog() -> list[Panel]:
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
            "Changed keys in memory, waiting or in work, and those taken to disk because cdc_raw was filling.",
            "short",
            [
                Query("cdc_daemon_pending{of}", "{{instance}} in memory"),
                Query("cdc_daemon_spooled_keys{of}", "{{instance}} on disk"),
            ],
        ),
        Panel(
            "Segments",
            "CDC segments in cdc_raw, and those of them that are not acknowledged yet.",
            "short",
            [
                Query("cdc_daemon_cdc_raw_segments{of}", "{{instance}} in cdc_raw"),
                Query("cdc_daemon_backlog_segments{of}", "{{instance}} not acknowledged"),
            ],
        ),
        Panel(
            "Age of the oldest segment not acknowledged",
            "Time since the oldest CDC segment that still waits was last changed; 0 where none waits.",
            "s",
            [
                Query(
                    "(time() - cdc_daemon_oldest_unacknowledged_segment_timestamp_seconds{of}) * "
                    "(cdc_daemon_oldest_unacknowledged_segment_timestamp_seconds{of} > bool 0)",
                    "{{instance}}",
                )
            ],
        ),
    ]


def _throughput() -> list[Panel]:
    return [
        Panel(
            "Documents by outcome",
            "Documents settled a second: indexed, deleted, superseded by a fresher read, filtered, or set aside.",
            "ops",
            [Query(_rate("cdc_daemon_documents_total", "outcome"), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Changes by source",
            "Changes read from the commit log and rows found by the poller, a second.",
            "ops",
            [
                Query(_rate("cdc_daemon_mutations_total", "keyspace", "table"), "log {{keyspace}}.{{table}}"),
                Query(_rate("cdc_daemon_poll_rows_total", "keyspace", "table"), "poll {{keyspace}}.{{table}}"),
            ],
        ),
        Panel(
            "Changes joined",
            "Signals taken in, and those that joined a key which was pending already: work that was spared.",
            "ops",
            [
                Query(f"sum(rate(cdc_daemon_signals_taken_total{{of}}[{_RATE}]))", "taken in"),
                Query(f"sum(rate(cdc_daemon_signals_coalesced_total{{of}}[{_RATE}]))", "joined"),
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
    ]


def _elasticsearch() -> list[Panel]:
    return [
        Panel("Bulk latency", "Time that bulk requests took.", "s", _quantiles(_BULK)),
        Panel(
            "Rejections and other retries",
            "Documents tried once more, a second. overload: Elasticsearch had no room; refused: an operator is needed; "
            "connection: no answer; stale_body: built too long ago, so read again.",
            "ops",
            [Query(_rate("cdc_daemon_retries_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Bulk size",
            "Documents in a bulk request, on average.",
            "short",
            [Query(_mean("cdc_daemon_bulk_documents"), "documents")],
        ),
        Panel(
            "Takes writes",
            "1 while the daemon believes that Elasticsearch takes writes.",
            "bool_yes_no",
            [Query("cdc_daemon_elasticsearch_available{of}", "{{instance}}")],
        ),
    ]


def _requests() -> list[Panel]:
    return [
        Panel(
            "Requests",
            "Requests for rows and operators' requests a second, by what they asked for and the answer's status.",
            "reqps",
            [Query(_rate("cdc_daemon_http_requests_total", "route", "status"), "{{route}} {{status}}")],
            width=8,
            stacked=True,
        ),
        Panel("Time of requests", "Time that requests took until they were answered.", "s", _quantiles(_HTTP), width=8),
        Panel(
            "Open jobs",
            "Asynchronous requests, backfills and reconciles that are not finished.",
            "short",
            [Query("cdc_daemon_open_jobs{of}", "{{instance}}")],
            width=8,
        ),
    ]


def _correctness() -> list[Panel]:
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
            [Query(f"sum(rate(cdc_daemon_second_reads_total{{of}}[{_RATE}]))", "rows")],
            width=8,
        ),
    ]


def _resources() -> list[Panel]:
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
            [Query(f"rate(process_cpu_seconds_total{{of}}[{_RATE}])", "{{instance}}")],
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
