"""The values that a document would be built from, for people who investigate why it failed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cdc_daemon.document.related import Joined
from cdc_daemon.values.cql_json import json_value
from cdc_daemon.values.messages import value_text


def source_of(
    columns: Sequence[str], row: Sequence[Any], *, shown: Collection[str], joined: Mapping[str, Sequence[str]]
) -> bytes:
    """Return a row's values as JSON by the names of its columns, in their order.

    It contains only the columns `shown`: values that a document never shows must not be visible here either. `joined`
    are the shown columns of joined rows, by the rows' names among `columns`. It never fails: a value without a JSON
    form becomes bounded text (`cdc_daemon.values.messages.shown`).
    """
    found: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if column in shown:
            found[column] = _plain(value)
        elif column in joined and isinstance(value, Joined):
            name = column.rpartition("\0")[2]
            found[name] = [_object(value.columns, each, joined[column]) for each in value.rows]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _object(columns: Sequence[str], row: Sequence[Any], shown: Collection[str]) -> dict[str, Any]:
    return {column: _plain(value) for column, value in zip(columns, row, strict=True) if column in shown}


def _plain(value: Any) -> Any:
    try:
        return json_value(value)
    except Exception:  # noqa: BLE001 -- it may be what the document has failed on
        return value_text(value)
