"""The part of a daemon's status that other daemons ask for, and all daemons' statuses together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYS = (
    *("version", "node", "started", "state", "paused", "pending", "spooled", "backlog", "freshness", "cdc_raw"),
    *("dead_letters", "open_jobs", "jobs", "problems", "share"),
)


def shorten_status(status: Mapping[str, Any], instance: str) -> dict[str, Any]:
    """Return the keys that show a daemon beside others. `instance` identifies the process."""
    return {"instance": instance, **{key: status[key] for key in _KEYS if key in status}}


def list_statuses(own: Mapping[str, Any], others: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the own status first, then those of the others, in the order of their names.

    `others` has by name the answer of each other daemon, or the error with which it did not answer.
    """
    found: list[Mapping[str, Any]] = [{**own, "peer": None, "error": None}]
    for name, answer in sorted(others.items()):
        if isinstance(answer, Mapping):
            if answer.get("instance") != own["instance"]:
                found.append({**answer, "peer": name, "error": None})
        else:
            reason = str(getattr(answer, "message", answer))[:300]
            found.append({"peer": name, "state": "unreachable", "error": reason})
    return found
