"""Hooks that tests name in mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_FUNCTION = 7


def add_length(document: dict[str, Any], row: Mapping[str, Any], joined: Mapping[str, Any]) -> dict[str, Any] | None:
    """Change the document it is given; leave out users called nobody; fail for those called bad."""
    if row["firstname"] == "nobody":
        return None
    if row["firstname"] == "bad":
        raise ValueError("no such name")
    document["nested"]["list"].append(row["id"])
    document["length"] = len(row["firstname"] or "")
    document["joined"] = sorted(joined)
    return document


def list_instead(_document: dict[str, Any], _row: Mapping[str, Any], _joined: Mapping[str, Any]) -> Any:
    return []
