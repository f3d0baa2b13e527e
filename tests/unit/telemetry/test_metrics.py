from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from cdc_daemon import __version__
from cdc_daemon.telemetry.metrics import LAG_BUCKETS, Metrics

EXPECTED = {
    "replication_lag_seconds": ("histogram", {"keyspace", "table"}),
    "last_acknowledged_write_timestamp_seconds": ("gauge", {"keyspace", "table"}),
    "heartbeat_timestamp_seconds": ("gauge", {"stage"}),
    "backlog_bytes": ("gauge", set()),
    "backlog_segments": ("gauge", set()),
    "oldest_unacknowledged_segment_timestamp_seconds": ("gauge", set()),
    "cdc_raw_bytes": ("gauge", set()),
    "cdc_raw_limit_bytes": ("gauge", set()),
    "pending": ("gauge", set()),
    "ready": ("gauge", set()),
    "mutations": ("counter", {"keyspace", "table", "scope"}),
    "signals": ("counter", set()),
    "signals_taken": ("counter", set()),
    "signals_coalesced": ("counter", set()),
    "keys_settled": ("counter", {"scope"}),
    "keys_forgotten": ("counter", set()),
    "documents": ("counter", {"alias", "outcome"}),
    "bulk_duration_seconds": ("histogram", set()),
    "bulk_documents": ("histogram", set()),
    "bulk_bytes": ("histogram", set()),
    "segments_released": ("counter", set()),
    "retries": ("counter", {"reason"}),
    "second_reads": ("counter", set()),
    "decode_errors": ("counter", {"kind"}),
    "dead_letters": ("counter", {"reason"}),
    "reconcile_requests": ("gauge", {"reason"}),
}


def _ours(metrics: Metrics) -> dict[str, Metric]:
    return {family.name: family for family in metrics.registry.collect() if family.name.startswith("cdc_daemon_")}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_metric_has_its_type_and_labels(name: str) -> None:
    kind, labels = EXPECTED[name]
    metrics = Metrics()
    metric = getattr(metrics, name)
    if labels:
        metric.labels(**dict.fromkeys(labels, "x"))
    family = _ours(metrics)[f"cdc_daemon_{name}"]
    assert family.type == kind
    found = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert found == labels


def test_names_follow_the_rules_of_prometheus() -> None:
    for name, family in _ours(Metrics()).items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert family.documentation.endswith(".")
        if family.type == "gauge":
            assert not name.endswith(("_total", "_count", "_sum"))
        assert not re.search(r"_(ms|milliseconds|kb|mb|minutes)(_|$)", name)


def test_counters_end_with_total() -> None:
    metrics = Metrics()
    metrics.documents.labels("users", "indexed").inc()
    text = generate_latest(metrics.registry).decode()
    assert 'cdc_daemon_documents_total{alias="users",outcome="indexed"} 1.0' in text
    assert "cdc_daemon_signals_total 0.0" in text


def test_lag_is_measured_from_50_ms_to_an_hour() -> None:
    assert LAG_BUCKETS[0] == 0.05
    assert LAG_BUCKETS[-1] == 3600
    assert list(LAG_BUCKETS) == sorted(set(LAG_BUCKETS))
    metrics = Metrics()
    metrics.replication_lag_seconds.labels("k", "t").observe(0.06)
    at = {
        sample.labels["le"]: sample.value
        for sample in _ours(metrics)["cdc_daemon_replication_lag_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert at["0.05"] == 0
    assert at["0.075"] == 1
    assert at["+Inf"] == 1


def test_build_info() -> None:
    (sample,) = _ours(Metrics())["cdc_daemon_build"].samples
    assert sample.name == "cdc_daemon_build_info"
    assert sample.labels["version"] == __version__
    assert sample.labels["python"]


def test_two_daemons_fit_into_one_process() -> None:
    one, two = Metrics(), Metrics()
    one.signals.inc()
    assert "cdc_daemon_signals_total 0.0" in generate_latest(two.registry).decode()


def test_a_registry_may_be_given() -> None:
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry
    assert "cdc_daemon_pending" in generate_latest(registry).decode()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the process's figures come from /proc")
def test_the_process_is_measured_too() -> None:
    assert b"process_resident_memory_bytes" in generate_latest(Metrics().registry)
