"""The reference pages. They are committed, and a test compares them with their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reference.chart import chart_dashboard, chart_page, chart_rules, values_schema
from reference.commands import commands_page
from reference.configuration import configuration_page
from reference.http_api import http_page

CHECKOUT: Final = Path(__file__).resolve().parent.parent

COMMAND: Final = "make docs"
"""Writes all of them."""

_COMMANDS: Final = CHECKOUT / "docs" / "commands.md"
_CHART: Final = CHECKOUT / "k8s" / "chart"
_API: Final = CHECKOUT / "http" / "openapi.yaml"


def pages() -> Mapping[Path, Callable[[], str]]:
    """Return each page, with the function that makes its text."""
    return {
        _COMMANDS: lambda: commands_page(_COMMANDS.read_text(encoding="utf-8")),
        CHECKOUT / "docs" / "configuration.md": configuration_page,
        CHECKOUT / "docs" / "http-api.md": lambda: http_page(_API.read_text(encoding="utf-8")),
        _CHART / "values.schema.json": values_schema,
        _CHART / "README.md": chart_page,
        _CHART / "files" / "rules.yaml": chart_rules,
        _CHART / "files" / "dashboard.json": chart_dashboard,
    }
