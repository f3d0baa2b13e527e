"""The picture of the main panels."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from monitoring.dashboard import rows
from sandbox.observe.picture import TITLES, Graph, Line, draw

_SVG = "{http://www.w3.org/2000/svg}"


def drawn(*graphs: Graph) -> ET.Element:
    return ET.fromstring(draw(graphs, seconds=120, outage=(30, 90)))


def texts(picture: ET.Element) -> set[str | None]:
    return {text.text for text in picture.iter(f"{_SVG}text")}


def test_it_has_each_panel_with_its_lines() -> None:
    points = [(float(at), 0.1 + at / 60) for at in range(0, 61, 5)]
    picture = drawn(
        Graph("Time to be shown", "s", [Line("p50", points), Line("p<99", points)]), Graph("Memory", "bytes", [])
    )
    assert {"Time to be shown", "p50", "p<99", "Memory", "2 min", "10 s"} <= texts(picture)
    assert len(list(picture.iter(f"{_SVG}polyline"))) == 2
    assert len([each for each in picture.iter(f"{_SVG}rect") if each.get("class") == "outage"]) == 2


def test_a_line_is_broken_where_nothing_is_known() -> None:
    picture = drawn(Graph("Bulk latency", "s", [Line("p50", [(0, 1), (1, 2), (60, 2), (61, 3)])]))
    first, second = (line.get("points", "").split() for line in picture.iter(f"{_SVG}polyline"))
    assert (len(first), len(second)) == (2, 2)


def test_a_level_needs_only_its_ends() -> None:
    picture = drawn(
        Graph("Memory", "bytes", [Line("daemon", [(float(at), 5.0) for at in range(100)] + [(100.0, 9.0)])])
    )
    (line,) = picture.iter(f"{_SVG}polyline")
    assert len(line.get("points", "").split()) == 3


def test_of_many_lines_those_are_drawn_that_reach_highest() -> None:
    lines = [Line(f"n{number}", [(0, number), (1, number)]) for number in range(8)]
    shown = {text for text in texts(drawn(Graph("Requests", "reqps", lines))) if text and text.startswith("n")}
    assert shown == {"n3", "n4", "n5", "n6", "n7"}


def test_it_can_be_read_on_dark_pages() -> None:
    style = drawn().findtext(f"{_SVG}style") or ""
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    for each in ("text", ".card", ".grid", ".c0", ".c1", ".c2", ".c3", ".c4"):
        assert f"{each} {{" in light
        assert f"{each} {{" in dark


def test_its_panels_are_the_dashboards() -> None:
    assert set(TITLES) <= {panel.title for panels in rows().values() for panel in panels if not panel.number}
