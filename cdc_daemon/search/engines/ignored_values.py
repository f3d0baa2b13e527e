"""Queries for values that are too long to be indexed, for engines that do not record them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EVERYTHING: Final[Mapping[str, Any]] = {"match_all": {}}
"""The query for all documents."""


def without_ignored_term(query: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a query that finds the same documents, and others, without the field `_ignored`.

    Elasticsearch 8 records in `_ignored` the fields of a document with a value beyond `ignore_above`. OpenSearch does
    not: nothing there tells such a document from others, as another value of the same field may be indexed.
    """
    if query is None or "_ignored" in (query.get("term") or {}):
        return EVERYTHING
    return query
