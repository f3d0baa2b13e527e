"""Models of databases that speak CQL, made from their documented system tables. No server is behind them.

- YugabyteDB 2025.2: the virtual tables of its master (`src/yb/master/yql_*_vtable.cc`), and
  docs.yugabyte.com/stable/explore/ycql-language/cassandra-feature-support
- Amazon Keyspaces: docs.aws.amazon.com/keyspaces/latest/devguide/working-with-keyspaces.html
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from cassandra import InvalidRequest

from tests.unit.cassandra.schema.conftest import column

NIL = UUID(int=0)
_FROM = re.compile(r"FROM (\w+\.\w+)")


class ModelledSession:
    """Answers queries of system tables with the rows of a model; a table that the model lacks is an invalid query."""

    def __init__(self, release: str, tables: dict[str, list[dict[str, Any]]]) -> None:
        self.tables = tables
        self.asked: list[str] = []
        self._host = SimpleNamespace(release_version=release, is_up=True, address="10.0.0.1", endpoint="10.0.0.1")
        metadata = SimpleNamespace(all_hosts=lambda: [self._host])
        self.cluster = SimpleNamespace(metadata=metadata, get_control_connection_host=lambda: self._host)

    def execution_profile_clone_update(self, *_: Any, **__: Any) -> None:
        """Return nothing: the model always answers with dictionaries."""

    def execute_async(self, statement: Any, **_: Any) -> Any:
        query = str(getattr(statement, "query_string", statement))
        self.asked.append(query)
        found = _FROM.search(query)
        assert found is not None
        return _Answer(self.tables.get(found[1]), found[1])


class _Answer:
    has_more_pages = False

    def __init__(self, rows: list[dict[str, Any]] | None, table: str) -> None:
        self._rows = rows
        self._table = table

    def add_callbacks(self, deliver: Any, fail: Any) -> None:
        if self._rows is None:
            fail(InvalidRequest(f'code=2200 [Invalid query] message="Object Not Found. {self._table}"'))
        else:
            deliver([dict(row) for row in self._rows])


def _table(**properties: Any) -> dict[str, Any]:
    return {"keyspace_name": "shop", "table_name": "users", "id": UUID(int=1), **properties}


def _columns() -> list[dict[str, Any]]:
    return [
        {**column("id", "partition_key", "uuid", position=0), "column_name_bytes": None},
        {**column("name", "regular", "text"), "column_name_bytes": None},
        {**column("tags", "regular", "map<text, frozen<set<int>>>"), "column_name_bytes": None},
    ]


def _keyspaces(*names: str) -> list[dict[str, Any]]:
    replication = {"class": "SimpleStrategy", "replication_factor": "3"}
    return [{"keyspace_name": name, "durable_writes": True, "replication": replication} for name in names]


def yugabyte() -> ModelledSession:
    """Return a node of YugabyteDB 2025.2: it has neither `dropped_columns` nor `system_views`."""
    return ModelledSession(
        "3.9-SNAPSHOT",
        {
            "system.local": [{"schema_version": NIL, "truncated_at": None}],
            "system.peers": [{"peer": "10.0.0.2", "schema_version": NIL}],
            "system_schema.keyspaces": _keyspaces("system", "system_auth", "system_schema", "shop"),
            "system_schema.tables": [
                _table(cdc=None, default_time_to_live=0, flags={"compound"}, transactions={"enabled": "false"})
            ],
            "system_schema.columns": _columns(),
            "system_schema.types": [],
            "system_schema.views": [],
        },
    )


def keyspaces(*, timed: bool) -> ModelledSession:
    """Return Amazon Keyspaces, with one table that has client-side timestamps or not."""
    status = {"client_side_timestamps": {"status": "enabled"}} if timed else {}
    return ModelledSession(
        "3.11.2",
        {
            "system.local": [{"schema_version": UUID(int=7), "truncated_at": None}],
            "system.peers": [{"peer": "10.0.0.2", "schema_version": None}],
            "system_schema.keyspaces": _keyspaces("system", "system_schema", "system_schema_mcs", "shop"),
            "system_schema.tables": [_table(default_time_to_live=0, flags={"compound"})],
            "system_schema.columns": _columns(),
            "system_schema_mcs.tables": [{"keyspace_name": "shop", "table_name": "users", "custom_properties": status}],
        },
    )
