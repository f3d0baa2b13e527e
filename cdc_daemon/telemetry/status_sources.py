"""The sources of changes and the scheduled tasks, each with its state and a few facts, for the status page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from prometheus_client import Counter

from cdc_daemon.telemetry.metrics import Metrics

Unit = Literal["count", "seconds", "bytes", "moment", "text"]
"""How a fact is displayed. A moment is in seconds since epoch."""

_POLLER = "poll "
"""Name prefix of the scheduled tasks that poll a table."""


def list_sources(metrics: Metrics, state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each source's `name`, `state` (a word or two) and `facts`.

    A fact has a `title`, a `value`, a `unit`, and `since_start`: whether it counts from the start of the process.
    `state` is the daemon's. Pollers are the scheduled tasks that find changes; delete passes find removed rows.
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
                _fact("paused by", state.get("paused_by"), "text"),
                _fact("paused since", state.get("paused_since"), "moment"),
                _fact("position", state.get("position"), "text"),
                _counted("changes read", _sum(metrics.mutations)),
                _counted("segments released", _sum(metrics.segments_released)),
                _counted("decode errors", _sum(metrics.decode_errors)),
                _counted("gaps found", _sum(metrics.gaps)),
            ],
        }
    yield {
        "name": "requests for rows",
        "state": waiting,
        "facts": [
            _counted("requests", _sum(metrics.http_requests, route="sync")),
            _counted("failed requests", _sum(metrics.http_requests, route="sync", failed=True)),
        ],
    }
    yield from (_scheduled(job) for job in state.get("schedule", ()) if is_poller(job["name"]))
    yield from (_delete_pass(each) for each in state.get("deletes", ()))


def list_tasks(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the scheduled tasks that are not pollers, in the format of `list_sources`."""
    return (_scheduled(job) for job in state.get("schedule", ()) if not is_poller(job["name"]))


def is_poller(scheduled: str) -> bool:
    """Return whether the scheduled task of this name polls a table, and so is a source of changes."""
    return scheduled.startswith(_POLLER)


def _scheduled(job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": job["name"],
        "state": "running" if job["running"] else "failing" if job["error"] else "scheduled",
        "facts": [
            _fact("error", job["error"], "text"),
            _fact("every", job["interval"], "seconds"),
            _fact("last success", job["succeeded"] or None, "moment"),
            _fact("next", job.get("next"), "moment"),
            _counted("runs", job["runs"]),
            _counted("failed runs", job["failures"]),
        ],
    }


def _delete_pass(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"removed rows {each['table']}",
        "state": "failing" if each["error"] else "running" if each["running"] else "scheduled",
        "facts": [
            _fact("error", each["error"], "text"),
            _fact("every", each["every"], "seconds"),
            _fact("gone from search within", each["bound"], "seconds"),
            _fact("last search began", each["searched"], "moment"),
            _fact("last search took", each["seconds"], "seconds"),
            _fact("rows in the last search", each["rows"], "count"),
            _fact("documents it removed", each["removed"], "count"),
        ],
    }


def _fact(title: str, value: Any, unit: Unit) -> dict[str, Any]:
    return {"title": title, "value": value, "unit": unit, "since_start": False}


def _counted(title: str, value: int) -> dict[str, Any]:
    return {"title": title, "value": value, "unit": "count", "since_start": True}


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
