from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from cdc_daemon.cli import checks as check
from cdc_daemon.cli.checks import Finding
from cdc_daemon.cli.main import app

runner = CliRunner()

GOOD = Finding("cassandra.version", "ok", "Cassandra 5.0.6")
COSTLY = Finding("cdc.freshness", "warn", "up to 10s late", "set [commitlog_sync_period]: 1s")
BAD = Finding("table.user", "fail", "sunbird.user has cdc = false", "ALTER TABLE sunbird.user WITH cdc = true;")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(
        "commit_log: {cdc_raw_directory: raw}\nstate: {directory: s}\nmappings: {user: {table: k.t, alias: a}}\n"
    )
    return file


@pytest.mark.parametrize(("findings", "code"), [([GOOD], 0), ([GOOD, COSTLY], 0), ([GOOD, BAD, COSTLY], 1)])
def test_exit_code_and_json(findings: list[Finding], code: int, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run_checks", lambda _settings: findings)
    result = runner.invoke(app, ["check", "--config", str(config), "--json"])
    assert result.exit_code == code
    report = json.loads(result.stdout)
    assert report["ok"] is (code == 0)
    assert report["findings"] == [
        {"name": finding.name, "status": finding.status, "found": finding.found, "mend": finding.mend}
        for finding in findings
    ]


def test_json_is_all_that_standard_output_has(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_checks(_settings: object) -> list[Finding]:
        structlog.get_logger().info("search.engine_found", engine="OpenSearch")
        structlog.get_logger().warning("something.odd")
        return [GOOD]

    monkeypatch.setattr(check, "run_checks", run_checks)
    result = runner.invoke(app, ["check", "--config", str(config), "--json"])
    assert json.loads(result.stdout)["ok"]
    assert "something.odd" in result.stderr
    assert "search.engine_found" not in result.output


def test_people_see_a_table(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run_checks", lambda _settings: [GOOD, COSTLY, BAD])
    monkeypatch.setenv("COLUMNS", "160")
    result = runner.invoke(app, ["check", "--config", str(config)])
    assert result.exit_code == 1
    assert "ALTER TABLE sunbird.user WITH cdc = true;" in result.stdout
    assert "set [commitlog_sync_period]: 1s" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 ok, 1 warn, 1 fail"


def test_servers_that_are_down_are_findings(config: Path, unused_tcp_port: int) -> None:
    with config.open("a") as file:
        file.write(f"cassandra: {{port: {unused_tcp_port}, request_timeout: 1s}}\n")
        file.write(f"elasticsearch: {{hosts: ['http://127.0.0.1:{unused_tcp_port}'], request_timeout: 1s}}\n")
    result = runner.invoke(app, ["check", "--config", str(config), "--json"])
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    failed = {finding["name"] for finding in json.loads(result.stdout)["findings"] if finding["status"] == "fail"}
    assert failed == {"cassandra.reachable", "elasticsearch.reachable", "cdc_raw.access"}
