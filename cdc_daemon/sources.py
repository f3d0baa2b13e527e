"""Where changes come from, each with its state and a few facts, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from prometheus_client import Counter

from cdc_daemon.metrics import Metrics

Unit = Literal["count", "seconds", "bytes", "moment", "text"]
"""How a fact is to be written; a moment is in seconds since epoch."""


def list_sources(metrics: Metrics, state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give each source's `name`, `state` (a word or two) and `facts`, each with `title`, `value` and `unit`.

    `state` is the daemon's. Jobs of its schedule, pollers among them, come by what it says of them alone.
    """
    if "backlog" not in state:
        return
    away = [name.capitalize() for name in ("cassandra", "elasticsearch") if not state.get(name, {}).get("available", 1)]
    waiting = f"waiting for {' and '.join(away)}" if away else "running"
    if state.get("tail", True):
        yield {
            "name": "commit log",
            "state": "paused" if state.get("paused") else waiting,
            "facts": [
                _fact("changes read", _sum(metrics.mutations), "count"),
                _fact("at", state.get("position"), "text"),
                _fact("segments released", _sum(metrics.segments_released), "count"),
                _fact("unreadable pieces", _sum(metrics.decode_errors), "count"),
                _fact("gaps", _sum(metrics.gaps), "count"),
            ],
        }
    yield {
        "name": "requests for rows",
        "state": waiting,
        "facts": [
            _fact("answered", _sum(metrics.http_requests, route="sync"), "count"),
            _fact("of these failed", _sum(metrics.http_requests, route="sync", failed=True), "count"),
        ],
    }
    for job in state.get("schedule", ()):
        yield {
            "name": job["name"],
            "state": "running" if job["running"] else "failing" if job["error"] else "waiting for its turn",
            "facts": [
                _fact("every", job["interval"], "seconds"),
                _fact("last done", job["succeeded"] or None, "moment"),
                _fact("next", job.get("next"), "moment"),
                _fact("turns", job["runs"], "count"),
                _fact("failed turns", job["failures"], "count"),
                _fact("error", job["error"], "text"),
            ],
        }


def _fact(title: str, value: Any, unit: Unit) -> dict[str, Any]:
    return {"title": title, "value": value, "unit": unit}


def _sum(counter: Counter, *, route: str | None = None, failed: bool = False) -> int:
    return int(
        sum(
            sample.value
            for family in counter.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
            and (route is None or sample.labels.get("route") == route)
            and (not failed or sample.labels.get("status", "").startswith("5"))
        )
    )
