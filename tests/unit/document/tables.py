"""Tables for tests, made of (name, type, kind) as `system_schema` has them."""

from __future__ import annotations

from typing import Any

from cdc_daemon.commitlog.schema import Schema, TableMetadata


def table(
    *columns: tuple[str, str, str],
    name: str = "t",
    keyspace: str = "sunbird",
    types: list[dict[str, Any]] | None = None,
) -> TableMetadata:
    """Make a table of (name, type, kind); `types` are rows of `system_schema.types`."""
    counts: dict[str, int] = {}
    rows = []
    for column, kind_type, kind in columns:
        position = counts.setdefault(kind, 0) if kind in {"partition_key", "clustering"} else -1
        counts[kind] = position + 1
        rows.append(
            {
                "keyspace_name": keyspace,
                "table_name": name,
                "column_name": column,
                "kind": kind,
                "position": position,
                "type": kind_type,
                "clustering_order": "asc" if kind == "clustering" else "none",
            }
        )
    schema = Schema.from_rows(
        tables=[{"keyspace_name": keyspace, "table_name": name, "id": "7ea2c300-e772-11f1-bc9f-47671d181370"}],
        columns=rows,
        types=types or [],
    )
    assert not schema.problems
    found = schema.find(keyspace, name)
    assert found is not None
    return found


USER = table(
    ("id", "text", "partition_key"),
    ("firstname", "text", "regular"),
    ("flags", "int", "regular"),
    ("tags", "set<text>", "regular"),
)
ENROLMENT = table(
    ("userid", "text", "partition_key"),
    ("courseid", "text", "clustering"),
    ("batch", "int", "clustering"),
    ("note", "text", "static"),
    ("progress", "int", "regular"),
)
