"""The schema reader on servers whose `system_schema` lacks columns or tables that newer releases have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from cdc_daemon.cassandra import schema_rows
from cdc_daemon.cassandra.schema_rows import SchemaReader
from cdc_daemon.model.errors import CassandraRefusedError


class Server:
    """Answers the reader's queries, and refuses those that name one of `missing`."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.version = uuid4()
        self.queries: list[str] = []

    async def ask(self, query: str) -> list[dict[str, Any]]:
        self.queries.append(query)
        if any(name in query for name in self.missing):
            raise CassandraRefusedError(f"Cassandra refused a query: {query}")
        if "schema_version" in query:
            return [{"schema_version": self.version}]
        return [{"from": query.rpartition(".")[2]}]

    def reader(self, monkeypatch: pytest.MonkeyPatch) -> SchemaReader:
        session = SimpleNamespace(execution_profile_clone_update=lambda *_a, **_k: None)
        monkeypatch.setattr(schema_rows.SchemaReader, "_ask", lambda _self, query: self.ask(query))
        return SchemaReader(session)


async def test_dropped_columns_without_a_kind_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(", kind,")
    reader = server.reader(monkeypatch)
    _, rows = await reader.rows()
    assert rows["dropped_columns"] == [{"from": "dropped_columns"}]
    server.queries.clear()
    await reader.rows()
    assert not any(", kind," in query for query in server.queries), "the refused query is not sent again"


@pytest.mark.parametrize("table", ["types", "dropped_columns", "views"])
async def test_an_optional_table_may_be_absent(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    _, rows = await Server(f"system_schema.{table}").reader(monkeypatch).rows()
    assert rows[table] == []
    assert rows["tables"] == [{"from": "tables"}]


@pytest.mark.parametrize("table", ["keyspaces", "tables", "columns"])
async def test_other_tables_are_needed(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    with pytest.raises(CassandraRefusedError):
        await Server(f"system_schema.{table}").reader(monkeypatch).rows()
