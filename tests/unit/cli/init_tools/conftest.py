"""Tables, made of the names and types of their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID, uuid5

import pytest

from cdc_daemon.commitlog.schema import Schema, TableMetadata

_NAMESPACE = UUID(int=0)


class Made(Protocol):
    """Makes the metadata of a table."""

    def __call__(
        self,
        keyspace: str,
        name: str,
        *,
        key: Mapping[str, str] | None = None,
        clustering: Mapping[str, str] | None = None,
        regular: Mapping[str, str] | None = None,
        cdc: bool = True,
    ) -> TableMetadata: ...


@pytest.fixture(scope="session")
def made() -> Made:
    def make(
        keyspace: str,
        name: str,
        *,
        key: Mapping[str, str] | None = None,
        clustering: Mapping[str, str] | None = None,
        regular: Mapping[str, str] | None = None,
        cdc: bool = True,
    ) -> TableMetadata:
        columns = [
            {
                "keyspace_name": keyspace,
                "table_name": name,
                "column_name": column,
                "column_name_bytes": column.encode(),
                "kind": kind,
                "position": position if kind != "regular" else -1,
                "type": cql,
                "clustering_order": "none",
            }
            for kind, group in (
                ("partition_key", key or {"id": "text"}),
                ("clustering", clustering or {}),
                ("regular", {"v": "text"} if regular is None else regular),
            )
            for position, (column, cql) in enumerate(group.items())
        ]
        identity = uuid5(_NAMESPACE, f"{keyspace}.{name}")
        row = {"keyspace_name": keyspace, "table_name": name, "id": identity, "flags": {"compound"}, "cdc": cdc}
        (table,) = Schema.from_rows(tables=[row], columns=columns, types=[], dropped_columns=[])
        return table

    return make
