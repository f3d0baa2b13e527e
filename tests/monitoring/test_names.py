"""Prometheus' own linter reads what the daemon exports."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from cdc_daemon.telemetry.metrics import Metrics
from tests.monitoring.conftest import Promtool


@pytest.fixture
def exported() -> str:
    """Every metric with a value, also those with labels."""
    metrics = Metrics()
    for described in metrics.descriptions:
        if described.labels and described.kind != "info":
            name = described.name.removeprefix("cdc_daemon_").removesuffix("_total")
            getattr(metrics, name).labels(*described.labels)
    return generate_latest(metrics.registry).decode()


def test_the_linter_finds_nothing(exported: str, promtool: Promtool) -> None:
    assert 'cdc_daemon_retries_total{reason="reason"}' in exported
    linted = promtool("check", "metrics", text=exported)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def test_the_linter_is_awake(promtool: Promtool) -> None:
    linted = promtool("check", "metrics", text="# TYPE wait_milliseconds_total gauge\nwait_milliseconds_total 1\n")
    assert linted.returncode != 0
    assert "no help text" in linted.stderr + linted.stdout
