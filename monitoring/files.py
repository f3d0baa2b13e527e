"""The generated files. They are committed, and tests compare them with their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cdc_daemon.telemetry.metric_table import alerts_by_metric, as_markdown
from cdc_daemon.telemetry.metrics import Metrics
from monitoring.dashboard import dashboard
from monitoring.type_table import type_page

CHECKOUT = Path(__file__).resolve().parent.parent
COMPONENT = CHECKOUT / "k8s" / "components" / "monitoring"
RULES = COMPONENT / "rules.yaml"

COMMAND = "make docs"
"""Writes all of them."""

_METRICS_HEAD = f"""\
# Metrics

This page lists every metric. It is generated from the code by `{COMMAND}`; `cdc-daemon metrics` prints the same table
for the installed version.

The daemon serves `GET /metrics` on its HTTP port in Prometheus' text format, or in OpenMetrics if the client asks for
it. In addition there are the `process_*` metrics of the process (memory, CPU, open files).

- Points in time are exported as timestamps, in seconds since epoch, not as ages. `time() - metric` is the age; it also
  grows when the daemon stands still.
- The number of label values is bounded: tables, aliases and object types come from the configuration, all other values
  from a short list in the code. No label contains a key, an id or a user's text.
- A series with labels appears with its first value.
- The alerts are defined in [k8s/components/monitoring/rules.yaml](../k8s/components/monitoring/rules.yaml); what to do
  about each of them is in [runbook.md](runbook.md).

"""


def rules() -> dict[str, Any]:
    """Return the recording and alerting rules."""
    return dict(yaml.safe_load(RULES.read_text(encoding="utf-8")))


def metrics_page() -> str:
    """Return docs/metrics.md."""
    return _METRICS_HEAD + as_markdown(Metrics().descriptions, alerts_by_metric(rules()))


def prometheus_rule() -> str:
    """Return the rules as an object of the Prometheus operator."""
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "cdc-daemon"},
        "spec": rules(),
    }
    head = f"# Generated from rules.yaml by `{COMMAND}`.\n"
    return head + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=10_000)


def files() -> Mapping[Path, Callable[[], str]]:
    """Return each generated file, with the function that makes its text."""
    return {
        CHECKOUT / "docs" / "field-types.md": type_page,
        CHECKOUT / "docs" / "metrics.md": metrics_page,
        COMPONENT / "prometheus-rule.yaml": prometheus_rule,
        COMPONENT / "dashboard.json": dashboard,
    }
