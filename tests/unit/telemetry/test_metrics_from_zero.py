"""Every counter starts at 0 before its event happens, so that an alert notices the first one."""

from __future__ import annotations

import time

import pytest

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.errors import NOT_BUILT, DamagedSegmentError, MutationError, UnknownTableError
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.metrics import PipelineMetrics
from cdc_daemon.search.failure import Failure
from cdc_daemon.search.metrics import AliasMetrics, BulkMetrics, RetryReason
from cdc_daemon.sources.log.gaps import Gap, GapReason
from cdc_daemon.sources.log.metrics import TailMetrics
from cdc_daemon.sources.metrics import DependentsMetrics
from cdc_daemon.sources.spool.spooler import SpoolMetrics
from cdc_daemon.tablejobs.metrics import DriftMetrics
from cdc_daemon.telemetry.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    BulkMetrics(made)
    PipelineMetrics(made)
    TailMetrics(made)
    return made


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"cdc_daemon_{name}", labels)


@pytest.mark.parametrize("reason", ["document", "mutation", "segment"])
def test_dead_letters_begin_with_0(metrics: Metrics, reason: str) -> None:
    assert value(metrics, "dead_letters_total", reason=reason) == 0


@pytest.mark.parametrize("reason", sorted(NOT_BUILT))
def test_documents_that_cannot_be_built_are_told_apart_and_begin_with_0(metrics: Metrics, reason: str) -> None:
    pipeline = PipelineMetrics(metrics)
    assert value(metrics, "dead_letters_total", reason=reason) == 0
    pipeline.set_aside([reason, "document_parsing_exception", "whatever_else"])
    assert value(metrics, "dead_letters_total", reason=reason) == 1
    assert value(metrics, "dead_letters_total", reason="document") == 2


@pytest.mark.parametrize("reason", RetryReason)
def test_retries_begin_with_0(metrics: Metrics, reason: RetryReason) -> None:
    assert value(metrics, "retries_total", reason=reason.value) == 0


@pytest.mark.parametrize("reason", GapReason)
def test_gaps_begin_with_0(metrics: Metrics, reason: GapReason) -> None:
    assert value(metrics, "gaps_total", reason=reason.value) == 0


@pytest.mark.parametrize(
    ("problem", "letter"),
    [
        (DamagedSegmentError("torn"), "segment"),
        (MutationError("odd"), "mutation"),
        (UnknownTableError("odd"), "mutation"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(metrics: Metrics, problem: MutationError, letter: str) -> None:
    kind = type(problem).__name__
    assert value(metrics, "decode_errors_total", kind=kind) == 0
    TailMetrics(metrics).unreadable(problem)
    assert value(metrics, "decode_errors_total", kind=kind) == 1
    assert value(metrics, "dead_letters_total", reason=letter) == 1


@pytest.mark.parametrize(("certain", "letters"), [(True, 1), (False, 0)])
def test_a_certain_gap_is_a_dead_letter(metrics: Metrics, certain: bool, letters: int) -> None:
    TailMetrics(metrics).gap(Gap(reason=GapReason.VANISHED, certain=certain, after=Position(1, 2), before=None))
    assert value(metrics, "gaps_total", reason="vanished") == 1
    assert value(metrics, "dead_letters_total", reason="segment") == letters


@pytest.mark.parametrize("direction", ["out", "in"])
def test_keys_spooled_begin_with_0(metrics: Metrics, direction: str) -> None:
    SpoolMetrics(metrics)
    assert value(metrics, "keys_spooled_total", direction=direction) == 0


def test_dependents_of_a_followed_table_begin_with_0(metrics: Metrics) -> None:
    DependentsMetrics(metrics, [TableName("shop", "brands")]).refreshed(TableName("shop", "brands"), 3)
    DependentsMetrics(metrics, [TableName("shop", "makers")]).failed(TableName("shop", "brands"))
    assert value(metrics, "dependents_failed_total", keyspace="shop", table="brands") == 1
    assert value(metrics, "dependents_failed_total", keyspace="shop", table="makers") == 0
    assert value(metrics, "dependents_refreshed_total", keyspace="shop", table="brands") == 3
    assert value(metrics, "dependents_refreshed_total", keyspace="shop", table="makers") == 0


def test_drift_has_no_value_before_anything_was_compared(metrics: Metrics) -> None:
    drift = DriftMetrics(metrics)
    assert value(metrics, "drift_documents", type="user", kind="missing") is None
    drift.set_drift("user", {"missing": 0, "different": 2})
    assert value(metrics, "drift_documents", type="user", kind="missing") == 0
    assert value(metrics, "drift_documents", type="user", kind="different") == 2
    compared = value(metrics, "drift_compared_timestamp_seconds", type="user")
    assert compared is not None
    assert abs(time.time() - compared) < 60


def test_a_write_time_ahead_of_the_clock_does_not_stand_for_all_that_come_after_it(metrics: Metrics) -> None:
    observer = PipelineMetrics(metrics)
    name, table = "last_acknowledged_write_timestamp_seconds", TableName("sunbird", "user")
    labels = {"keyspace": "sunbird", "table": "user"}
    observer.shown(table, int((time.time() + 3600) * 1e6))
    observer.show()
    first = value(metrics, name, **labels)
    assert first is not None
    assert first <= time.time()
    observer.shown(table, int(time.time() * 1e6))
    observer.show()
    second = value(metrics, name, **labels)
    assert second is not None
    assert first <= second <= time.time()


def test_documents_are_counted_by_alias_and_never_by_table(metrics: Metrics) -> None:
    row, joined = TableName("k", "user"), TableName("k", "role")
    pipeline = PipelineMetrics(metrics, aliases={row: ["users", "people"]})
    pipeline.settled(row, "dead_lettered", "")
    pipeline.settled(row, "dead_lettered", "users")
    pipeline.settled(joined, "dead_lettered", "")
    pipeline.show()
    counted = {
        sample.labels["alias"]: sample.value
        for metric in metrics.documents.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert counted == {"users": 2, "people": 1, "": 1}


def test_each_alias_takes_writes_until_it_does_not(metrics: Metrics) -> None:
    aliases = AliasMetrics(metrics, ["users", "orders"])
    assert [value(metrics, "alias_available", alias=alias) for alias in ("users", "orders")] == [1, 1]
    for reason in ("cluster_block_exception", "index_closed_exception"):
        aliases.show({"users": reason})
        assert [value(metrics, "alias_available", alias=alias) for alias in ("users", "orders")] == [0, 1]
        assert value(metrics, "alias_trouble", alias="users", reason=reason) == 1
    assert value(metrics, "alias_trouble", alias="users", reason="cluster_block_exception") is None
    aliases.show({})
    assert value(metrics, "alias_trouble", alias="users", reason="index_closed_exception") is None
    assert value(metrics, "alias_available", alias="users") == 1


def test_reasons_are_of_a_list_that_is_known() -> None:
    assert Failure(403, "cluster_block_exception", "blocked").label == "cluster_block_exception"
    assert Failure(503, "http_503", "<html>").label == "other"
