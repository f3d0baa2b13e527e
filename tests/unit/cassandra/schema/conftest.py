"""The rows of `system_schema` as the driver gives them, made by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cdc_daemon.cassandra.schema_rows import Rows

PARTS = ("keyspaces", "tables", "columns", "types", "dropped_columns", "views")


def column(name: str, kind: str, cql_type: str = "text", *, table: str = "users", position: int = -1) -> dict[str, Any]:
    return {
        "keyspace_name": "shop",
        "table_name": table,
        "column_name": name,
        "clustering_order": "none",
        "column_name_bytes": name.encode(),
        "kind": kind,
        "position": position,
        "type": cql_type,
    }


def rows(number: int = 1, *columns: tuple[str, str], table: str = "users", **others: Any) -> Rows:
    """Return a schema with one table `shop.<table>`, its id from `number`, with a key `id` and these columns."""
    found: Rows = {part: [] for part in PARTS}
    found["keyspaces"] = [
        {"keyspace_name": "shop", "durable_writes": True, "replication": {"class": "S", "replication_factor": "3"}}
    ]
    found["tables"] = [
        {
            "keyspace_name": "shop",
            "table_name": table,
            "id": UUID(int=number),
            "cdc": True,
            "comment": "not part of the definition",
            "flags": {"compound"},
        }
    ]
    found["columns"] = [column("id", "partition_key", table=table, position=0)]
    found["columns"] += [column(name, "regular", cql_type, table=table) for name, cql_type in columns]
    found.update(others)
    return found


def joined(*several: Rows) -> Rows:
    """Return the schema with the tables of several."""
    return {part: [row for each in several for row in each[part]] for part in PARTS}


def nothing() -> Rows:
    return {part: [] for part in PARTS}
