"""Panels of the dashboard as one SVG picture, drawn from the data in Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from sandbox.observe.scale import Scale, spell

TITLES = (
    "Time to be shown",
    "Keys that wait",
    "Documents by outcome",
    "Bulk latency",
    "cdc_raw against its limit",
    "Memory",
)
"""The panels of the picture, by their titles."""

_WIDTH, _HEIGHT, _COLUMNS = 480, 234, 2
_MARGIN = 10
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 38, 52
_LINES = 5
"""As many as there are colours."""

_LETTER = 6.1
_GAP = 5.0
"""Seconds without a value from which on a line is broken."""

_STYLE = """\
text { fill: #24292f; font: 11px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.page { fill: #f6f8fa; } .card { fill: #fff; stroke: #d0d7de; } .grid { stroke: #d8dee4; } .quiet { fill: #57606a; }
.title { font-size: 13px; font-weight: 600; } .outage { fill: #cf222e; opacity: .12; } .word { fill: #cf222e; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.c0 { stroke: #0969da; } .c1 { stroke: #bc4c00; } .c2 { stroke: #1a7f37; }
.c3 { stroke: #8250df; } .c4 { stroke: #bf3989; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .page { fill: #0d1117; } .card { fill: #161b22; stroke: #30363d; } .grid { stroke: #30363d; }
  .quiet { fill: #9198a1; } .outage { fill: #f85149; opacity: .2; } .word { fill: #ff7b72; }
  .c0 { stroke: #58a6ff; } .c1 { stroke: #f0883e; } .c2 { stroke: #3fb950; }
  .c3 { stroke: #bc8cff; } .c4 { stroke: #ff7eb6; }
}"""
"""It is shown on pages of either kind, and cannot ask them: the reader's own choice decides."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: moments in seconds since the picture's begin, and values."""

    legend: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Graph:
    """One panel with its series; `unit` is one of Grafana's."""

    title: str
    unit: str
    lines: Sequence[Line]


def draw(graphs: Sequence[Graph], *, seconds: float, outage: tuple[float, float]) -> str:
    """Return the picture of so many seconds, the time without Elasticsearch shaded."""
    rows = -(-len(graphs) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH + _MARGIN, rows * _HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(', '.join(graph.title for graph in graphs))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for number, graph in enumerate(graphs):
        row, column = divmod(number, _COLUMNS)
        parts.append(f'<g transform="translate({column * _WIDTH + _MARGIN},{row * _HEIGHT + _MARGIN})">')
        parts.extend(_panel(graph, seconds, outage))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(graph: Graph, seconds: float, outage: tuple[float, float]) -> Iterator[str]:
    wide, high = _WIDTH - _LEFT - _RIGHT - _MARGIN, _HEIGHT - _TOP - _BOTTOM - _MARGIN
    largest = sorted(graph.lines, key=_most, reverse=True)[:_LINES]
    lines = [line for line in graph.lines if line in largest]
    scale = Scale.of([value for line in lines for _, value in line.points], graph.unit)

    def x(moment: float) -> float:
        return _LEFT + wide * moment / seconds

    def y(value: float) -> float:
        return _TOP + high * (1 - scale.share(value))

    yield f'<rect class="card" width="{_WIDTH - _MARGIN}" height="{_HEIGHT - _MARGIN}" rx="6"/>'
    yield f'<text class="title" x="16" y="24">{escape(graph.title)}</text>'
    begin, end = x(outage[0]), x(outage[1])
    yield f'<rect class="outage" x="{begin:.1f}" y="{_TOP}" width="{end - begin:.1f}" height="{high}"/>'
    middle = (begin + end) / 2
    yield f'<text class="word" x="{middle:.1f}" y="{_TOP + 13}" text-anchor="middle">outage</text>'
    for value in scale.ticks:
        yield f'<path class="grid" d="M{_LEFT} {y(value):.1f}h{wide}"/>'
        told = escape(spell(value, graph.unit)) if value else "0"
        yield f'<text class="quiet" x="{_LEFT - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{told}</text>'
    for moment in range(0, int(seconds) + 1, 60):
        yield (
            f'<text class="quiet" x="{x(moment):.1f}" y="{_TOP + high + 16}" text-anchor="middle">'
            f"{moment // 60} min</text>"
        )
    place = float(_LEFT)
    for number, line in enumerate(lines):
        for stretch in _stretches(line.points):
            points = " ".join(f"{x(moment):.1f},{y(value):.1f}" for moment, value in stretch)
            yield f'<polyline class="line c{number}" points="{points}"/>'
        below = _TOP + high + 34
        yield f'<path class="line c{number}" d="M{place:.0f} {below - 4}h12"/>'
        yield f'<text x="{place + 16:.0f}" y="{below}">{escape(line.legend)}</text>'
        place += 34 + _LETTER * len(line.legend)


def _stretches(points: Sequence[tuple[float, float]]) -> Iterator[Sequence[tuple[float, float]]]:
    """Cut a line where values are missing."""
    begin = 0
    for at in range(1, len(points) + 1):
        if at == len(points) or points[at][0] - points[at - 1][0] > _GAP:
            yield _thinned(points[begin:at])
            begin = at


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Remove points between two others with the same value: a horizontal line needs only its ends."""
    return [
        point
        for at, point in enumerate(points)
        if at in {0, len(points) - 1} or not points[at - 1][1] == point[1] == points[at + 1][1]
    ]


def _most(line: Line) -> float:
    return max((value for _, value in line.points if math.isfinite(value)), default=0.0)
