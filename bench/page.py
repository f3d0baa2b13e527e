"""Writes the figures of a run into docs/performance.md; the text around them is written by people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import Report

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

BEGIN = "<!-- figures: written by `python -m bench all` -->"
END = "<!-- end of figures -->"


def with_figures(page: str, reports: Sequence[Report]) -> str:
    """Return the page with these reports' figures instead of those that it has. Raises `ValueError` without a place."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN!r} and {END!r} in the page, found one of them at most")
    return "\n".join([before + BEGIN, *(line for report in reports for line in _lines(report)), "", END]) + after


def _lines(report: Report) -> Iterator[str]:
    yield ""
    yield f"### {report.title[:1].upper()}{report.title[1:]}"
    yield ""
    yield f"{report.made:%Y-%m-%d %H:%M} UTC; rows and documents compared: {report.verdict}."
    for line in report.about:
        yield f"- {line}"
    yield ""
    yield "| figure | median | least | most |"
    yield "| --- | --- | --- | --- |"
    for name, figures in report.rows.items():
        numbers = (figures.median, min(figures.values), max(figures.values))
        yield f"| {name} | {' | '.join(f'{number:,.{2 if number < 10 else 0}f}' for number in numbers)} |"
