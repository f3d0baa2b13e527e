"""The page with the published figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bench.figures import Figures
from bench.page import BEGIN, END, PAGE, with_figures
from bench.report import Report

REPORT = Report(
    "drain of a backlog",
    ["machine: two cores"],
    {"rows/s": Figures([5000.4, 6000.0, 7000.0]), "ratio": Figures([0.5, 0.25, 0.75])},
    made=datetime(2026, 11, 30, 21, 5, tzinfo=UTC),
)


def test_the_figures_of_a_run_replace_those_of_the_run_before() -> None:
    page = f"# Performance\n\n{BEGIN}\nold\n{END}\n\nThe text after it.\n"
    written = with_figures(page, [REPORT])
    assert "old" not in written
    assert written.startswith("# Performance\n")
    assert written.endswith("\nThe text after it.\n")
    assert "### Drain of a backlog" in written
    assert "2026-11-30 21:05 UTC; rows and documents compared: EQUAL." in written
    assert "| rows/s | 6,000 | 5,000 | 7,000 |" in written
    assert "| ratio | 0.50 | 0.25 | 0.75 |" in written
    assert with_figures(written, [REPORT]) == written


def test_a_page_without_a_place_for_figures_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        with_figures("# Performance\n", [REPORT])


def test_the_page_of_this_checkout_has_a_place_for_them() -> None:
    assert "### Drain of a backlog" in with_figures(PAGE.read_text(encoding="utf-8"), [REPORT])
