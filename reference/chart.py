"""The Helm chart's generated files: the schema and the list of its values, the alert rules and the dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from reference.markdown import table

_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_CHART: Final = _CHECKOUT / "k8s" / "chart"
_MONITORING: Final = _CHECKOUT / "k8s" / "components" / "monitoring"
_OWNED: Final = {
    "state": ("directory",),
    "http": ("port", "health_port"),
    "commit_log": ("cdc_raw_directory", "cdc_total_space"),
}
"""Keys of the configuration that other values decide: two places for one thing would differ one day."""

_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "strings": {"type": "object", "additionalProperties": {"type": "string"}},
    "objects": {"type": "array", "items": {"type": "object"}},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "config": {"type": "object", "if": {"minProperties": 1}, "then": {"$ref": "#/$defs/Config"}},
}


def values_schema() -> str:
    """Return values.schema.json: that of the values, with the configuration's own schema below `config`."""
    config = json.loads((_CHECKOUT / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    definitions = config.pop("$defs")
    dialect = config.pop("$schema")
    # The chart sets the only key of `state` that is required.
    config["required"] = [name for name in config["required"] if name != "state"]
    config["allOf"] = [{"properties": {name: _without(keys) for name, keys in _OWNED.items()}}]
    definitions["StateSettings"].pop("required", None)
    schema = {"$schema": dialect, "title": "Values of the chart cdc-daemon", "$defs": {**definitions, "Config": config}}
    # Helm adds `global` to the values of each chart that is part of another.
    properties = {name: _expanded(part) for name, part in _source().items()} | {"global": {"type": "object"}}
    return json.dumps(schema | _object(properties), indent=2, ensure_ascii=False) + "\n"


def chart_page() -> str:
    """Return README.md of the chart."""
    defaults = yaml.safe_load((_CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = "\n".join(table(("value", "default", "what it is"), _rows(_source(), defaults)))
    return f"{_HEAD}\n{rows}\n"


def chart_rules() -> str:
    """Return the alert rules, as the chart's template puts them into a PrometheusRule."""
    manifest = yaml.safe_load((_MONITORING / "prometheus-rule.yaml").read_text(encoding="utf-8"))
    return yaml.safe_dump(manifest["spec"], sort_keys=False, width=1000)


def chart_dashboard() -> str:
    """Return the dashboard."""
    return (_MONITORING / "dashboard.json").read_text(encoding="utf-8")


def _source() -> dict[str, Any]:
    return dict(yaml.safe_load((_CHART / "schema.yaml").read_text(encoding="utf-8")))


def _without(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"properties": dict.fromkeys(keys, False)}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _expanded(part: dict[str, Any]) -> dict[str, Any]:
    part = dict(part)
    kind = part.pop("$kind", None)
    if kind == "keys":
        return {**_object({key: {"type": "string"} for key in part.pop("keys")}), **part}
    if kind is not None:
        return {**_KINDS[kind], **part}
    if "items" in part:
        part["items"] = _expanded(part["items"])
    if "properties" in part and "type" not in part:
        return part | _object({name: _expanded(inner) for name, inner in part["properties"].items()})
    return part


def _rows(source: dict[str, Any], defaults: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    for name, part in source.items():
        if "properties" in part and "type" not in part:
            yield f"`{above}{name}`", "", part["description"]
            yield from _rows(part["properties"], defaults[name], f"{above}{name}.")
        else:
            yield f"`{above}{name}`", f"`{json.dumps(defaults[name])}`", part["description"]


_HEAD: Final = """# Helm chart

This page lists the values of the chart. [k8s/README.md](../README.md) says how to install it, and what the objects
are for. Values files for a dozen cases are in `ci/`.

The chart makes what the overlays in `k8s/overlays` make for the same inputs; `tests/k8s/test_chart.py` compares them.
What may differ: the labels that Helm's charts have (`app.kubernetes.io/…`, `helm.sh/chart`), which are also in the
selectors of a poller; the Namespace, and Cassandra's own Service and disruption budget, which the chart does not
make; and the order of keys in `config.yaml`.

In mode `sidecar` the chart adds the daemon to the object in `sidecar.target`. A chart of your own can use the same
templates instead, with this chart as a dependency: `cdc-daemon.container` (a native sidecar for `initContainers`),
`cdc-daemon.volumes` and `cdc-daemon.podLabels`. Call them with the values of this chart as `.Values`. Use one release
in mode `sidecar` for each namespace: all pods with the label `cdc-daemon: sidecar` belong to it.

## The bitnami chart

Its pods belong to another chart, so the values that it needs are in a ConfigMap:

```sh
helm install cdc-daemon k8s/chart --values k8s/chart/ci/sidecar-bitnami-values.yaml
kubectl get configmap cdc-daemon-bitnami -o jsonpath='{.data.values\\.yaml}' > cdc-values.yaml
helm upgrade cassandra bitnami/cassandra --reuse-values --values cdc-values.yaml
```

Leave `persistence.commitLogMountPath` of that chart empty. `CASSANDRA_CFG_YAML_…` works from its 4.1 images on.

## Values
"""
