"""The dashboard: what it asks for exists, and each panel says what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_daemon.telemetry.metric_table import names_in
from cdc_daemon.telemetry.metrics import Metrics
from monitoring.dashboard import dashboard, filled_in, rows
from monitoring.panels import WIDTH, Panel
from tests.monitoring.conftest import Promtool, process_metrics

PANELS = [panel for panels in rows().values() for panel in panels]
DESCRIBED = {description.name: set(description.labels) for description in Metrics().descriptions}
ANYWHERE = {"job", "instance", "le"}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return dict(json.loads(dashboard()))


def test_each_metric_in_it_exists() -> None:
    known = DESCRIBED.keys() | process_metrics()
    for panel in PANELS:
        for query in panel.queries:
            names = names_in(query.text)
            assert names, query.text
            assert names <= known, query.text


def test_each_label_in_it_is_one_of_the_metrics() -> None:
    for panel in PANELS:
        for query in panel.queries:
            labels = set().union(*(DESCRIBED.get(name, set()) for name in names_in(query.text))) | ANYWHERE
            for grouped in re.findall(r"by \(([^)]*)\)", query.text):
                assert {label.strip() for label in grouped.split(",")} <= labels, query.text
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= labels, query.legend


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_each_panel_says_what_it_shows_and_in_which_unit(panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith(".")
    assert panel.unit
    assert panel.queries
    assert all(query.legend for query in panel.queries)


def test_the_json_has_them_all(made: dict[str, Any]) -> None:
    shown = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in shown] == [panel.title for panel in PANELS]
    for panel in shown:
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${source}"
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    assert [panel["title"] for panel in made["panels"] if panel["type"] == "row"] == list(rows())


def test_no_panel_lies_over_another(made: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken, panel["title"]
        taken |= squares


def test_prometheus_understands_each_query(promtool: Promtool, tmp_path: Path) -> None:
    asked = [filled_in(query, job=".+", instance=".+", interval="1m") for panel in PANELS for query in panel.queries]
    assert not [text for text in asked if "$" in text]
    rules = [{"record": f"query:number{number}", "expr": text} for number, text in enumerate(asked)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
