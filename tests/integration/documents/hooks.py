"""Functions that mappings of the tests name as their hooks; daemons find them by `PYTHONPATH`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc_daemon.document.hook import JoinedRows

NAME = f"{__name__}:publish"


def publish(document: dict[str, Any], row: Mapping[str, Any], joined: JoinedRows) -> dict[str, Any] | None:
    """Add computed fields to a course, skip drafts, and fail for an unexpected row."""
    if row["state"] == "draft":
        return None
    if row["state"] == "broken":
        raise LookupError(f"no price for {row['id']}")
    document["levels"] = sum(unit["level"] for unit in joined["units"])
    document["secondsOfDay"] = row["start"].hour * 3600 + row["start"].minute * 60
    return document
