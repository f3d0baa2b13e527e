"""The table of metrics: units, and which alerts use which metric."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cdc_daemon.cli.main import app
from cdc_daemon.telemetry.metric_table import alerts_by_metric, as_markdown, names_in, unit
from cdc_daemon.telemetry.metrics import Description, Metrics

RULES = """
groups:
  - name: some
    rules:
      - {record: "job:cdc_daemon_slow:ratio", expr: 'rate(cdc_daemon_lag_seconds_bucket{le="5.0"}[5m])'}
      - {record: "cdc_daemon:twice", expr: "cdc_daemon_other + cdc_daemon:twice_removed"}
      - {record: "cdc_daemon:twice_removed", expr: "cdc_daemon_pending"}
      - {alert: Late, expr: "job:cdc_daemon_slow:ratio > 1"}
      - {alert: Waiting, expr: "cdc_daemon:twice > 1 and cdc_daemon_paused == 0"}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cdc_daemon_heartbeat_timestamp_seconds", "seconds since epoch"),
        ("cdc_daemon_bulk_duration_seconds", "seconds"),
        ("cdc_daemon_sent_bytes_total", "bytes"),
        ("cdc_daemon_build_info", "always 1"),
        ("cdc_daemon_pending", "number"),
    ],
)
def test_units_are_told_by_names(name: str, expected: str) -> None:
    assert unit(Description(name, "gauge", (), "")) == expected


def test_names_of_a_histograms_series_are_its_own() -> None:
    expression = 'sum(rate(cdc_daemon_lag_seconds_bucket{le="5.0"}[5m])) / sum(cdc_daemon_lag_seconds_count)'
    assert names_in(expression) == {"cdc_daemon_lag_seconds"}


def test_alerts_are_found_through_recorded_series() -> None:
    assert alerts_by_metric(yaml.safe_load(RULES)) == {
        "cdc_daemon_lag_seconds": ["Late"],
        "cdc_daemon_other": ["Waiting"],
        "cdc_daemon_pending": ["Waiting"],
        "cdc_daemon_paused": ["Waiting"],
    }


def test_a_row_tells_all_of_a_metric() -> None:
    description = Description("cdc_daemon_retries_total", "counter", ("reason",), "Once | more.")
    table = as_markdown([description], {"cdc_daemon_retries_total": ["Late"]})
    assert table.splitlines()[-1] == (
        "| `cdc_daemon_retries_total` | counter | `reason` | number | Once \\| more. | `Late` |"
    )
    assert "Alerts" not in as_markdown([description])


def test_every_metric_is_described() -> None:
    metrics = Metrics()
    ours = {family.name for family in metrics.registry.collect() if family.name.startswith("cdc_daemon_")}
    described = {each.name.removesuffix("_total").removesuffix("_info") for each in metrics.descriptions}
    assert described == ours


def test_the_command_lists_them() -> None:
    shown = CliRunner().invoke(app, ["metrics"])
    assert shown.exit_code == 0
    assert "| `cdc_daemon_replication_lag_seconds` | histogram | `keyspace`, `table` | seconds |" in shown.stdout


def test_the_command_lists_them_for_machines_with_alerts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    shown = CliRunner().invoke(app, ["metrics", "--json", "--rules", str(rules)])
    (pending,) = [each for each in json.loads(shown.stdout) if each["name"] == "cdc_daemon_pending"]
    assert pending["type"] == "gauge"
    assert pending["alerts"] == ["Waiting"]


@pytest.mark.parametrize("content", ["[", "{}", "groups: 3"])
def test_another_file_than_rules_is_refused(tmp_path: Path, content: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(content)
    refused = CliRunner().invoke(app, ["metrics", "--rules", str(rules)])
    assert refused.exit_code != 0
    assert "expected a Prometheus rule file" in str(refused.exception)
