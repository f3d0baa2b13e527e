"""The Grafana dashboard: what is on it, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
    VariableSort,
)

from monitoring.health import backlog, freshness, glance
from monitoring.panels import Panel, Query, build
from monitoring.queries import RATE
from monitoring.trust import correctness, resources
from monitoring.work import elasticsearch, followed, requests, throughput

TITLE = "cdc-daemon"
UID = "cdc-daemon"


def rows() -> Mapping[str, Sequence[Panel]]:
    """Return the dashboard's rows by their titles."""
    return {
        "At a glance": glance(),
        "Freshness": freshness(),
        "Backlog": backlog(),
        "Throughput and sources": throughput(),
        "Cassandra and the search engine": elasticsearch(),
        "Removals and joined rows": followed(),
        "Requests and jobs": requests(),
        "Correctness": correctness(),
        "Resources": resources(),
    }


def filled_in(query: Query, *, job: str, instance: str, interval: str) -> str:
    """Return a query's text with the viewer's choices inserted: regular expressions, and a duration."""
    text = query.text
    for name, value in {"$job": job, "$instance": instance, RATE: interval}.items():
        text = text.replace(name, value)
    return text


def dashboard() -> str:
    """Return the dashboard as JSON that Grafana imports."""
    built = (
        builders.Dashboard(TITLE)
        .uid(UID)
        .description("Is the search engine equal to Cassandra, how late is it, and what delays it.")
        .tags(["cdc-daemon", "cassandra", "elasticsearch"])
        .timezone("browser")
        .refresh("15s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(builders.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(_choice("job", "Job", "label_values(cdc_daemon_build_info, job)"))
        .with_variable(_choice("instance", "Daemon", 'label_values(cdc_daemon_build_info{job=~"$job"}, instance)'))
    )
    for title, panels in rows().items():
        built.with_row(builders.Row(title))
        for panel in panels:
            built.with_panel(build(panel))
    # The SDK sets no panel ids, and Grafana needs unique ones.
    made = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    for number, panel_json in enumerate(made["panels"], start=1):
        panel_json["id"] = number
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _choice(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DataSourceRef(type_val="prometheus", uid="${source}"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003 -- the SDK's own form
        .include_all(True)  # noqa: FBT003 -- likewise
        .all_value(".+")
    )
