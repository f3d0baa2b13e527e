"""The files that are made, and of what: they are committed, and tests hold them to their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cdc_daemon.telemetry.metric_table import alerts_by_metric, as_markdown
from cdc_daemon.telemetry.metrics import Metrics
from monitoring.dashboard import dashboard

CHECKOUT = Path(__file__).resolve().parent.parent
COMPONENT = CHECKOUT / "k8s" / "components" / "monitoring"
RULES = COMPONENT / "rules.yaml"

COMMAND = "make docs"
"""What makes all of them anew."""

_METRICS_HEAD = f"""\
# Metrics

Made from the code by `{COMMAND}`; `cdc-daemon metrics` prints the same table for the installed version.

The daemon answers `GET /metrics` on its HTTP port in the text format of Prometheus, or OpenMetrics where the client
asks for it. Beside these there are `process_*` of the process itself (memory, CPU, open files).

- Moments are exported as timestamps, in seconds since epoch, not as ages: `time() - metric` is the age, and a daemon
  that stands still shows by it.
- Labels are bounded: tables, aliases and object types come from the configuration, each other label has its values
  from a short list in the code. No label carries a key, an id or a text of a user's.
- A series with labels appears when it first has something to tell.
- The alerts are those of [k8s/components/monitoring/rules.yaml](../k8s/components/monitoring/rules.yaml); what to do
  about each is in [runbook.md](runbook.md).

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
    head = f"# Made of rules.yaml by `{COMMAND}`.\n"
    return head + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=10_000)


def files() -> Mapping[Path, Callable[[], str]]:
    """Return each file that is made, with what makes its text."""
    return {
        CHECKOUT / "docs" / "metrics.md": metrics_page,
        COMPONENT / "prometheus-rule.yaml": prometheus_rule,
        COMPONENT / "dashboard.json": dashboard,
    }
