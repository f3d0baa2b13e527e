"""What the servers report: the tables, the node's CDC settings, and which search engine answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import SimpleStatement

from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cassandra.dialect import detect
from cdc_daemon.cassandra.node import NodeSettings, find_node, moves_segments
from cdc_daemon.cassandra.schema_rows import SYSTEM_KEYSPACES, SchemaReader
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.config import CassandraSettings, ElasticsearchSettings
from cdc_daemon.model.errors import CassandraRefusedError, CdcError
from cdc_daemon.search.failure import attempting

_OTHER_SYSTEM_KEYSPACES: Final = frozenset(
    {
        *SYSTEM_KEYSPACES,
        *("system_schema_mcs", "system_multiregion_info", "system_views", "system_virtual_schema"),
        *("datastax_sla", "data_endpoint_auth", "system_monitor"),
    }
)
"""Keyspaces of Cassandra and of managed services, whose tables are never proposed."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The node that was asked.

    `follows_log` says whether the daemon can read its commit log, and `moves_segments` whether segments reach cdc_raw
    only when they are complete. What follows is None if the node does not report its settings.
    """

    title: str
    datacenter: str
    follows_log: bool
    cdc_enabled: bool | None
    cdc_raw_directory: str | None
    moves_segments: bool = False


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The search engine that answered, such as `OpenSearch 2.19.5`; `title` is None if none did, and `error` is why."""

    title: str | None
    error: str = ""


def look_at_node(session: Session, options: CassandraSettings) -> NodeReport:
    """Return what the local node reports. Raises `CassandraRefusedError` if it answers no query."""
    node = find_node(session, options.contact_points)
    release = str(node.release_version)

    def ask(query: str) -> Iterable[Any]:
        rows: Iterable[Any] = session.execute(SimpleStatement(query), host=node)
        return rows

    try:
        dialect = detect(
            release, {row.keyspace_name for row in ask("SELECT keyspace_name FROM system_schema.keyspaces")}
        )
    except (DriverException, OperationTimedOut, NoHostAvailable) as error:
        raise CassandraRefusedError(f"the schema cannot be read: {error}") from error
    try:
        reported = NodeSettings.of_rows(ask(NodeSettings.QUERY))
    except (DriverException, OperationTimedOut, NoHostAvailable):
        reported = NodeSettings({})
    return NodeReport(
        title=f"{dialect.name} {release}" if dialect.has_commit_log else dialect.name,
        datacenter=str(node.datacenter),
        follows_log=dialect.has_commit_log,
        cdc_enabled=reported.flag("cdc_enabled"),
        cdc_raw_directory=reported.text("cdc_raw_directory"),
        moves_segments=dialect.has_commit_log and moves_segments(release),
    )


def read_tables(session: Session) -> list[TableMetadata]:
    """Return the tables of users' keyspaces, by keyspace and name, without views. Raises as `execute` does."""
    _, rows = asyncio.run(SchemaReader(session).rows())
    schema = Schema.from_rows(**{**rows, "views": []})
    found = [table for table in schema if table.keyspace not in _OTHER_SYSTEM_KEYSPACES]
    return sorted(found, key=lambda table: (table.keyspace, table.name))


def look_at_engine(options: ElasticsearchSettings) -> EngineReport:
    """Return which search engine answers. An engine that does not answer is no error: its URL may be right later."""
    return asyncio.run(_ask_engine(options))


async def _ask_engine(options: ElasticsearchSettings) -> EngineReport:
    try:
        engine = connect_elasticsearch(options)
        try:
            with attempting("ask which search engine answers"):
                product = await engine.identify()
        finally:
            await engine.close()
    except CdcError as error:
        return EngineReport(None, error.message)
    return EngineReport(f"{product.name} {product.version}".strip())


def statements(tables: Sequence[TableMetadata]) -> list[str]:
    """Return the statement that switches CDC on, for each table that has it off."""
    return [f"ALTER TABLE {cql_name(table)} WITH cdc = true;" for table in tables if not table.cdc]


def cql_name(table: TableMetadata) -> str:
    """Return the name of a table for CQL, in quotes where CQL needs them."""
    return f"{_quoted(table.keyspace)}.{_quoted(table.name)}"


def _quoted(name: str) -> str:
    return name if name == name.lower() and name[:1].isalpha() else f'"{name}"'
