"""What a job has found, as plain values that can be added up and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

LONGEST_LIST = 20
"""Entries kept of a list: they are examples."""


class Finding(Protocol):
    """What was found in a range, gathered until it is kept together with how far the range is."""

    def take(self) -> Mapping[str, Any]:
        """Return what was found since the last call, in plain values, and begin anew."""
        ...


def add_up(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return two reports as one: numbers added, lists joined up to `LONGEST_LIST`, mappings likewise below.

    Neither is changed, nor shared with what is returned.
    """
    added: dict[str, Any] = {}
    for name in (*one, *(each for each in other if each not in one)):
        values = [each[name] for each in (one, other) if name in each]
        if isinstance(values[0], Mapping):
            added[name] = add_up(values[0], values[1] if len(values) > 1 else {})
        elif isinstance(values[0], list):
            added[name] = [entry for value in values for entry in value][:LONGEST_LIST]
        else:
            added[name] = sum(values)
    return added
