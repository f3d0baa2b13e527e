"""Values that a flattened field cannot hold: they are stored aside, so that no document is refused because of them.

The limits are those of the engines, found on Elasticsearch 8.19 and OpenSearch 2.19: the path and the value of an entry
together have 32,766 bytes (Lucene's longest term), a key has no NUL character, and objects are at most 20 deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from cdc_daemon.document.bookkeeping import UNINDEXED_FIELD
from cdc_daemon.document.field_types import DEEPEST
from cdc_daemon.model.document_operation import Operation

LONGEST_ENTRY = 32_000
"""Bytes of the path and the value of an entry that a flattened field holds in any case."""


def without_unfit_values(operation: Operation) -> Operation | None:
    """Return a refused operation with the unfit values of its flattened fields aside; None if it has none.

    The whole value of a field moves to the field `UNINDEXED_FIELD`, which is stored and not indexed.
    """
    if operation.body is None or not operation.flattened:
        return None
    try:
        document = orjson.loads(operation.body)
    except ValueError:
        return None
    unfit = [name for name in operation.flattened if not _fits(document.get(name), len(name.encode()), 0)]
    if not unfit:
        return None
    aside = {name: document.pop(name) for name in unfit}
    body = orjson.dumps({**document, UNINDEXED_FIELD: aside})
    return replace(operation, body=body, flattened=())


def _fits(value: Any, path: int, depth: int) -> bool:
    if isinstance(value, Mapping):
        return depth < DEEPEST and all(
            "\0" not in name and _fits(entry, path + 1 + len(name.encode()), depth + 1) for name, entry in value.items()
        )
    if isinstance(value, list):
        return all(_fits(each, path, depth) for each in value)
    return path + (len(value.encode()) if isinstance(value, str) else 0) <= LONGEST_ENTRY
