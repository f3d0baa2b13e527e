from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import __main__, ring
from bench.report import Report


def case(**figures: float) -> dict[str, float]:
    usual: dict[str, Any] = {"changes": 100, "documents_written": 100, "rows_read": 100, "versions_asked": 0}
    usual |= {"bulk_requests": 10, "search engine, CPU s": 1.0}
    found = {name.replace("_", " "): value for name, value in (usual | figures).items()}
    return {**found, "all daemons, CPU s": 2.0, "all Cassandra nodes, CPU s": 3.0}


FOUND = {
    "1 node, all, calm": [case(), case()],
    "3 nodes, primary, calm": [case(changes=200, documents_written=220), case(rows_read=150)],
}


def test_each_figure_is_compared_by_change_with_the_single_copy_of_the_same_run() -> None:
    rows = ring.rows_of(FOUND)
    beside = "a change, beside the single copy"
    assert rows["3 nodes, primary, calm: documents written"].values == [220, 100]
    assert rows[f"3 nodes, primary, calm: documents written {beside}"].values == pytest.approx([1.1, 1.0])
    assert rows[f"3 nodes, primary, calm: rows read {beside}"].values == pytest.approx([0.5, 1.5])
    assert rows[f"3 nodes, primary, calm: all daemons, CPU s {beside}"].values == pytest.approx([0.5, 1.0])
    # The single copy asked for no version, and it is not compared with itself.
    assert f"3 nodes, primary, calm: versions asked {beside}" not in rows
    assert not [name for name in rows if name.startswith("1 node, all") and beside in name]


def test_the_command_prints_the_figures_of_a_ring_for_people_and_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def measure(**options: Any) -> Report:
        asked.append(options)
        return Report("cost of a ring", ["machine: a model"], ring.rows_of(FOUND))

    monkeypatch.setattr(ring, "measure", measure)
    text = CliRunner().invoke(__main__.app, ["ring", "--rate", "50", "--seconds", "5", "--runs", "2"]).output
    assert text.splitlines()[:3] == ["cost of a ring", "machine: a model", "EQUAL"]
    figures = json.loads(CliRunner().invoke(__main__.app, ["ring", "--json"]).output)["figures"]
    assert figures["3 nodes, primary, calm: rows read"]["runs"] == [100, 150]
    assert {name: asked[0][name] for name in ("rate", "seconds", "runs")} == {"rate": 50, "seconds": 5.0, "runs": 2}
