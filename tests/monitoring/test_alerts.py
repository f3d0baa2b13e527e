"""Each alert fires and stays silent where it should, by Prometheus' own tester, and tells what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from cdc_daemon.telemetry.metric_table import names_in
from cdc_daemon.telemetry.metrics import Metrics
from monitoring.dashboard import rows
from monitoring.files import CHECKOUT, RULES, rules
from tests.monitoring.conftest import Promtool, process_metrics

HERE = Path(__file__).parent
TESTS = sorted(HERE.glob("*_test.yaml"))
RUNBOOK = CHECKOUT / "docs" / "runbook.md"
EVERY = [rule for group in rules()["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}


def cases() -> list[dict[str, Any]]:
    return [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]


def test_the_rules_are_well_formed(promtool: Promtool) -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(EVERY)} rules found" in checked.stdout


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_and_stay_silent(file: Path, promtool: Promtool) -> None:
    tested = promtool("test", "rules", str(file))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_is_tested_firing_and_silent() -> None:
    seen: dict[str, set[bool]] = defaultdict(set)
    for case in cases():
        seen[case["alertname"]].add(bool(case["exp_alerts"]))
    # Firing alerts list every instance that fires, so the others of the same test are silent.
    assert {name for name, fired in seen.items() if True in fired} == set(ALERTS)
    assert {name for name, fired in seen.items() if False in fired} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_means_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Cdc([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = rule["annotations"]
    assert annotations["summary"].endswith(".")
    assert "{{" not in annotations["summary"]
    assert annotations["description"].endswith(".")
    page, _, anchor = annotations["runbook"].partition("#")
    assert CHECKOUT / page == RUNBOOK
    assert anchor == name.lower()


@pytest.mark.parametrize("name", ALERTS)
def test_the_runbook_says_what_to_do(name: str) -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert re.search(r"\b(Do[:,]|Look and do|then as for)", section), f"what to do about {name}?"


def test_the_runbook_has_no_alert_that_does_not_exist_and_no_dead_link() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    of_alerts, _, by_hand = text.partition("\n## By hand\n")
    assert set(re.findall(r"^### (.*)$", of_alerts, re.MULTILINE)) == set(ALERTS)
    assert re.search(r"^### ", by_hand, re.MULTILINE)
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


def test_the_panels_that_the_runbook_names_are_on_the_dashboard() -> None:
    named = {
        " ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", RUNBOOK.read_text(encoding="utf-8"))
    }
    assert len(named) >= 4
    assert named - {"not"} <= {panel.title for panels in rows().values() for panel in panels}


def test_each_metric_in_a_rule_exists_with_its_labels() -> None:
    described = {description.name: set(description.labels) for description in Metrics().descriptions}
    recorded = {rule["record"] for rule in EVERY if "record" in rule}
    for rule in EVERY:
        assert names_in(rule["expr"]) <= described.keys() | recorded | process_metrics(), rule["expr"]
        for name, selector in re.findall(r"(cdc_daemon_\w+?)(?:_bucket|_count|_sum)?\{([^}]*)\}", rule["expr"]):
            used = set(re.findall(r"(\w+)\s*[=!]", selector)) - {"le"}
            assert used <= described[name]


def test_each_bucket_in_a_rule_exists_as_it_is_written() -> None:
    metrics = Metrics()
    metrics.replication_lag_seconds.labels("k", "t").observe(1)
    exported = generate_latest(metrics.registry).decode()
    used = set(re.findall(r'le="([^"]*)"', RULES.read_text(encoding="utf-8")))
    assert used
    assert used <= set(re.findall(r'replication_lag_seconds_bucket\{(?:[^}]*,)?le="([^"]*)"', exported))
