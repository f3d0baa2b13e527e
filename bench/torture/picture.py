"""The picture of a run: lag, memory and descriptors over time, as SVG, with a mark at each fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

WIDTH = 960
_LEFT, _RIGHT, _TOP, _HEIGHT, _GAP = 70, 20, 34, 130, 52
_LINE = "#1f6feb"
_MARK = "#d1242f"

Points = Sequence[tuple[float, float]]


def draw(title: str, charts: Sequence[tuple[str, Points]], marks: Sequence[tuple[float, float]] = ()) -> str:
    """Return the charts below each other, each of points (seconds, value). `marks` are spans of time, in seconds."""
    end = max([at for _, points in charts for at, _ in points] + [till for _, till in marks] + [1.0])
    height = _TOP + len(charts) * (_HEIGHT + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" fill="#1f2328">{escape(title)}</text>',
    ]
    for number, (name, points) in enumerate(charts):
        lines += _chart(name, points, marks, end, _TOP + 22 + number * (_HEIGHT + _GAP))
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _chart(name: str, points: Points, marks: Sequence[tuple[float, float]], end: float, top: float) -> Iterator[str]:
    width = WIDTH - _LEFT - _RIGHT
    most = _round_up(max([value for _, value in points] + [0.0]))
    bottom = top + _HEIGHT

    def x(at: float) -> float:
        return round(_LEFT + width * at / end, 1)

    yield f'<text x="{_LEFT}" y="{top - 6}" fill="#1f2328">{escape(name)}</text>'
    for begin, till in marks:
        wide = max(x(till) - x(begin), 1.0)
        yield (
            f'<rect x="{x(begin)}" y="{top}" width="{wide:.1f}" height="{_HEIGHT}" fill="{_MARK}" fill-opacity="0.15"/>'
        )
    for share in (0.0, 0.5, 1.0):
        y = bottom - _HEIGHT * share
        yield f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" stroke="#d0d7de"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#59636e">{most * share:g}</text>'
    path = " ".join(f"{x(at)},{bottom - _HEIGHT * min(value / most, 1.0):.1f}" for at, value in points)
    yield f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.2"/>'
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield (
            f'<text x="{x(end * share)}" y="{bottom + 15}" text-anchor="middle" fill="#59636e">'
            f"{end * share / 60:.1f} min</text>"
        )


def _round_up(value: float) -> float:
    """Return the next number of the kind 1, 2, 5, 10, 20, 50."""
    step = 1.0
    while True:
        for factor in (1.0, 2.0, 5.0):
            if value <= factor * step:
                return factor * step
        step *= 10
