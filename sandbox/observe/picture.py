"""Panels of the dashboard drawn as one SVG picture, from what Prometheus has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

TITLES = (
    "Time to be shown",
    "Keys that wait",
    "Documents by outcome",
    "Bulk latency",
    "cdc_raw against its limit",
    "Memory",
)
"""The panels of the picture, by their titles."""

_WIDTH, _HEIGHT, _COLUMNS = 460, 210, 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 30, 44
_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms")),
    "bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "ops": ((1e3, "k/s"), (1.0, "/s")),
    "short": ((1e6, "M"), (1e3, "k"), (1.0, "")),
}


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
    size = (_COLUMNS * _WIDTH, rows * _HEIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}"',
        ' font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#fff"/>',
    ]
    for number, graph in enumerate(graphs):
        row, column = divmod(number, _COLUMNS)
        parts.append(f'<g transform="translate({column * _WIDTH},{row * _HEIGHT})">')
        parts.extend(_panel(graph, seconds, outage))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def spell(value: float, unit: str) -> str:
    """Return a value with its unit, in the size that people would use."""
    scales = _SCALES.get(unit, ((1.0, ""),))
    factor, name = next(((factor, name) for factor, name in scales if value >= factor), scales[-1])
    return f"{value / factor:.3g} {name}".strip()


def _panel(graph: Graph, seconds: float, outage: tuple[float, float]) -> list[str]:
    inner = (_WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)
    top = max((value for line in graph.lines for _, value in line.points), default=0.0) or 1.0

    def place(moment: float, value: float) -> tuple[float, float]:
        return _LEFT + inner[0] * moment / seconds, _TOP + inner[1] * (1 - value / top)

    begin, end = place(outage[0], 0)[0], place(outage[1], 0)[0]
    shade = f'x="{begin:.1f}" y="{_TOP}" width="{end - begin:.1f}" height="{inner[1]}"'
    parts = [
        f'<text x="{_LEFT}" y="18" font-size="13" font-weight="bold">{escape(graph.title)}</text>',
        f'<rect {shade} fill="#d62728" opacity="0.1"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = place(0, top * share)[1]
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_LEFT + inner[0]}" stroke="#ddd"/>')
        label = escape(spell(top * share, graph.unit)) if share else "0"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    below = _TOP + inner[1] + 14
    parts.extend(
        f'<text x="{place(moment, 0)[0]:.1f}" y="{below}" text-anchor="middle">{moment} s</text>'
        for moment in range(0, int(seconds) + 1, 60)
    )
    x = _LEFT
    for number, line in enumerate(graph.lines):
        color = _COLORS[number % len(_COLORS)]
        points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(f'<text x="{x}" y="{_HEIGHT - 12}" fill="{color}">{escape(line.legend)}</text>')
        x += 14 + round(6.2 * len(line.legend))
    return parts
