"""`cdc-daemon metrics`: the list of the daemon's metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cdc_daemon.cli.common import JsonOption


def metrics(
    *,
    as_json: JsonOption = False,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="A Prometheus rule file; the list then contains the alerts of each metric.", show_default=False
        ),
    ] = None,
) -> None:
    """List the daemon's metrics in Markdown, with type, labels, unit and meaning."""
    import yaml  # noqa: PLC0415  commands start fast

    from cdc_daemon.model.errors import ConfigError  # noqa: PLC0415  likewise
    from cdc_daemon.telemetry.metric_table import alerts_by_metric, as_markdown, unit  # noqa: PLC0415  likewise
    from cdc_daemon.telemetry.metrics import Metrics  # noqa: PLC0415  likewise

    descriptions = Metrics().descriptions
    alerts = None
    if rules is not None:
        try:
            alerts = alerts_by_metric(yaml.safe_load(rules.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            raise ConfigError(f"expected a Prometheus rule file, found {error}", file=str(rules)) from error
    if not as_json:
        typer.echo(as_markdown(descriptions, alerts), nl=False)
        return
    listed = [
        {
            "name": each.name,
            "type": each.kind,
            "labels": list(each.labels),
            "unit": unit(each),
            "meaning": each.meaning,
            **({} if alerts is None else {"alerts": alerts.get(each.name, [])}),
        }
        for each in descriptions
    ]
    typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
