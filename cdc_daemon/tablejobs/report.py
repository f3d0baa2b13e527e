"""A job's findings, as plain values that can be added up and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

LONGEST_LIST = 20
"""Entries kept per list: they are examples."""


class Finding(Protocol):
    """The findings in a range, gathered until they are stored together with the range's progress."""

    def take(self) -> Mapping[str, Any]:
        """Return the findings since the last call, in plain values, and reset them."""
        ...


def add_up(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sum of two reports: numbers added, lists joined up to `LONGEST_LIST`, nested mappings likewise.

    Neither is changed, nor shared with the result.
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
