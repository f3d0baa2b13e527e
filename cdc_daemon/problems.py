"""What somebody should look at, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BEHIND_SECONDS = 10.0
"""From here on the daemon is said to be behind: a healthy one is within a second."""

RAW_WARNING, RAW_CRITICAL = 0.75, 0.95
"""Shares of cdc_raw's limit, at which Cassandra rejects writes."""


def find_problems(state: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the problems that a daemon's state shows, each with `severity` (critical or warning) and `text`."""
    found = [*_servers(state), *_room(state), *_progress(state), *_work(state)]
    return sorted(
        ({"severity": severity, "text": text} for severity, text in found),
        key=lambda problem: problem["severity"] != "critical",
    )


def _servers(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    waiting = state.get("waiting_for")
    if waiting:
        yield "critical", f"Waiting for {waiting['what']} before it can start: {waiting['error']}"
    if not state.get("cassandra", {}).get("available", True):
        yield "critical", "Cassandra is away: no row can be read, so nothing is replicated."
    if not state.get("elasticsearch", {}).get("available", True):
        failure = state["elasticsearch"].get("failure")
        told = f" ({failure})" if failure else ""
        yield "critical", f"Elasticsearch takes no writes{told}: changes wait in the commit log."
    for index in state.get("indices", ()):
        trouble = index.get("trouble")
        if trouble:
            place = f"{index['alias']} ({index['live']})" if index["live"] else str(index["alias"])
            yield (
                "critical",
                (
                    f"{place} takes no writes: {trouble['error_type']}: {trouble['reason']}. "
                    "Changes of this index wait; the others go on."
                ),
            )


def _room(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    raw = state.get("cdc_raw") or {}
    share = raw["bytes"] / raw["limit"] if raw.get("limit") else 0.0
    if share >= RAW_WARNING:
        severity = "critical" if share >= RAW_CRITICAL else "warning"
        yield severity, f"cdc_raw is {share:.0%} full: at its limit Cassandra rejects writes."


def _progress(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if state.get("paused"):
        yield "warning", "An operator has paused the commit log: its changes wait."
    behind = state.get("freshness", {}).get("behind")
    if behind is not None and behind >= BEHIND_SECONDS:
        # No number: a sentence that changes each second is read out each second.
        yield "warning", "Elasticsearch is behind Cassandra."


def _work(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    letters = state.get("dead_letters", 0)
    if letters:
        yield "warning", f"{letters} dead letter{'s' if letters > 1 else ''}: set aside until somebody looks at them."
    lost = state.get("reconcile_requests") or {}
    if lost:
        reasons = ", ".join(reason.replace("_", " ") for reason in lost)
        yield "warning", f"Changes may be missing in Elasticsearch until tables are compared with it: {reasons}."
    for job in state.get("schedule", ()):
        if job["error"]:
            yield "warning", f"{job['name']} fails: {job['error']}"
