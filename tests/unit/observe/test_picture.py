"""The picture of the main panels."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from monitoring.dashboard import rows
from sandbox.observe.picture import TITLES, Graph, Line, draw, spell

_SVG = "{http://www.w3.org/2000/svg}"


def test_it_has_each_panel_with_its_lines() -> None:
    graphs = [
        Graph("Time to be shown", "s", [Line("p50", [(0, 0.1), (60, 0.2)]), Line("p<99", [(0, 1.0), (60, 2.0)])]),
        Graph("Memory", "bytes", []),
    ]
    picture = ET.fromstring(draw(graphs, seconds=120, outage=(30, 90)))
    texts = [text.text for text in picture.iter(f"{_SVG}text")]
    assert {"Time to be shown", "p50", "p<99", "Memory", "120 s", "2 s"} <= set(texts)
    assert len(list(picture.iter(f"{_SVG}polyline"))) == 2
    shaded = [each for each in picture.iter(f"{_SVG}rect") if each.get("opacity")]
    assert len(shaded) == 2


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.25, "s", "250 ms"),
        (2.0, "s", "2 s"),
        (3 * 2.0**20, "bytes", "3 MiB"),
        (1500, "ops", "1.5 k/s"),
        (7, "short", "7"),
        (3, "bool", "3"),
    ],
)
def test_values_are_spelt_in_the_size_that_people_use(value: float, unit: str, expected: str) -> None:
    assert spell(value, unit) == expected


def test_its_panels_are_the_dashboards() -> None:
    assert set(TITLES) <= {panel.title for panels in rows().values() for panel in panels if not panel.number}
