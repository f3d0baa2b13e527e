"""Queries for values that are too long to be indexed, for engines that do not record them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EVERYTHING: Final[Mapping[str, Any]] = {"match_all": {}}
"""The query for all documents."""

_COMPOUND: Final = frozenset({"bool", "should", "must", "filter", "nested", "query"})
"""The members of a query that hold queries. The members of others are names of fields, and values."""


def without_ignored_term(query: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a query that finds the same documents, and others, without the field `_ignored`.

    Elasticsearch 8 records in `_ignored` the fields of a document with a value beyond `ignore_above`. OpenSearch does
    not: nothing there tells such a document from others, as another value of the same field may be indexed.
    """
    return EVERYTHING if query is None else _replaced(query)


def _replaced(part: Any) -> Any:
    """Return a part of a query with each term on `_ignored` replaced, also inside of compound queries."""
    if isinstance(part, Mapping):
        if "_ignored" in (part.get("term") or {}):
            return EVERYTHING
        return {name: _replaced(value) if name in _COMPOUND else value for name, value in part.items()}
    if isinstance(part, list):
        return [_replaced(each) for each in part]
    return part
