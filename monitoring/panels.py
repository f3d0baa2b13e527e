"""A short form of the dashboard's panels, and their translation for Grafana."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

WIDTH = 24
"""Columns of Grafana's grid."""

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")

OF = 'job=~"$job",instance=~"$instance"'
"""Label matchers for the daemons that the viewer has selected."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series; `{of` in it selects the chosen daemons."""

    expression: str
    legend: str

    @property
    def text(self) -> str:
        """The expression as it is sent."""
        return self.expression.replace("{of", "{" + OF)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: a graph, or a number where `number` is true. `unit` is one of Grafana's; `limit` is drawn in red."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int = 12
    number: bool = False
    stacked: bool = False
    limit: float | None = None
    decimals: int | None = None


def build(panel: Panel) -> stat.Panel | timeseries.Panel:
    """Return the panel as an object of Grafana's SDK."""
    built = _number(panel) if panel.number else _graph(panel)
    built.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    built.span(panel.width).height(4 if panel.number else 8)
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.limit is not None:
        built.thresholds(_thresholds(panel.limit))
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.text).legend_format(query.legend).ref_id(chr(ord("A") + number))
        built.with_target(target.instant() if panel.number else target.range())
    return built


def _number(panel: Panel) -> stat.Panel:
    built = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if panel.limit is None:
        built.color_mode(models.BigValueColorMode.NONE)
    return built


def _graph(panel: Panel) -> timeseries.Panel:
    built = timeseries.Panel().line_width(1).fill_opacity(40 if panel.stacked else 8)
    built.show_points(models.VisibilityMode.NEVER).min(0)
    legend = common.VizLegendOptions().show_legend(True)  # noqa: FBT003 -- the SDK's own form
    built.legend(legend.display_mode(models.LegendDisplayMode.LIST).placement(models.LegendPlacement.BOTTOM))
    built.tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    if panel.limit is not None:
        style = common.GraphThresholdsStyleConfig().mode(models.GraphTresholdsStyleMode.DASHED)
        built.thresholds_style(style)
    return built


def _thresholds(limit: float) -> builders.ThresholdsConfig:
    steps = [Threshold(value=None, color="green"), Threshold(value=limit, color="red")]
    return builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
