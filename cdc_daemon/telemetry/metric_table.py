"""The daemon's metrics as a table for people: meaning, unit and alerts of each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cdc_daemon.telemetry.metrics import Description

_TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
_NAME = re.compile(r"[a-z_:][a-z0-9_:]*", re.IGNORECASE)
_OURS = re.compile(r"cdc_daemon|^process_")
_SERIES = re.compile(r"_(?:bucket|sum|count)$")

_UNITS = (
    ("_timestamp_seconds", "seconds since epoch"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_info", "always 1"),
)


def unit(description: Description) -> str:
    """Return a metric's unit from its name's suffix (Prometheus naming). Without a unit: number."""
    name = description.name.removesuffix("_total")
    return next((words for ending, words in _UNITS if name.endswith(ending)), "number")


def names_in(expression: str) -> frozenset[str]:
    """Return the daemon's and process's metrics in a PromQL expression. A histogram's series give its own name."""
    names = _NAME.findall(_TEXT.sub("", expression))
    return frozenset(_SERIES.sub("", name) for name in names if _OURS.search(name))


def alerts_by_metric(rules: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the alerts of a Prometheus rule file by metric they use, directly or through recording rules."""
    every = [rule for group in rules["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: names_in(rule["expr"]) for rule in every if "record" in rule}
    uses: dict[str, set[str]] = defaultdict(set)
    for rule in every:
        if "alert" in rule:
            for name in _resolved(names_in(rule["expr"]), recorded):
                uses[name].add(rule["alert"])
    return {name: sorted(alerts) for name, alerts in uses.items()}


def _resolved(names: Iterable[str], recorded: Mapping[str, frozenset[str]]) -> set[str]:
    found: set[str] = set()
    for name in names:
        found |= _resolved(recorded[name], recorded) if name in recorded else {name}
    return found


def as_markdown(descriptions: Sequence[Description], alerts: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the table in Markdown, with a column of alerts if they are given."""
    heads = ["Metric", "Type", "Labels", "Unit", "Meaning", *([] if alerts is None else ["Alerts"])]
    rows = [heads, ["---"] * len(heads), *(_cells(description, alerts) for description in descriptions)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _cells(description: Description, alerts: Mapping[str, Sequence[str]] | None) -> list[str]:
    cells = [
        f"`{description.name}`",
        description.kind,
        _code(description.labels),
        unit(description),
        description.meaning.replace("|", "\\|"),
    ]
    return cells if alerts is None else [*cells, _code(alerts.get(description.name, ()))]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
