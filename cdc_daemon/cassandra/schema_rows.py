"""The rows of `system_schema`: read consistently, written to a snapshot, split by table."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from cassandra import Unauthorized
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import SimpleStatement, dict_factory

from cdc_daemon.cassandra.query import execute
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, CassandraUnavailableError, CommitLogError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.store.table_history import TableDefinition

log = structlog.get_logger(__name__)

Rows = dict[str, list[dict[str, Any]]]
"""The rows of each table of `system_schema`, with values by column name."""

SYSTEM_KEYSPACES: Final = frozenset(
    {
        "system",
        "system_auth",
        "system_cluster_metadata",
        "system_distributed",
        "system_schema",
        "system_traces",
    }
)
"""Cassandra's own keyspaces that are written to its commit log."""

_SELECTED: Final = {
    "keyspaces": "*",
    "tables": "*",
    "columns": "*",
    "types": "*",
    # As milliseconds: system tables have dropped columns with times beyond the driver's years.
    "dropped_columns": "keyspace_name, table_name, column_name, "
    "blobAsBigint(timestampAsBlob(dropped_time)) AS dropped_time, kind, type",
    "views": "*",
}
_OLDER: Final = {
    # Not every release of 3.11 records the kind; where it is absent, only regular columns can be dropped.
    "dropped_columns": _SELECTED["dropped_columns"].replace(" kind,", ""),
}
"""What to select where the server lacks a column of `_SELECTED`."""

_OPTIONAL: Final = frozenset({"types", "dropped_columns", "views"})
"""Tables of `system_schema` that databases other than Cassandra may lack: YCQL has no dropped columns, and Amazon
Keyspaces documents only keyspaces, tables and columns."""

_CLIENT_TIMESTAMPS: Final = "SELECT keyspace_name, table_name, custom_properties FROM system_schema_mcs.tables"
_VERSION: Final = "SELECT schema_version FROM system.local"
_PEERS: Final = "SELECT peer, schema_version FROM system.peers"
_TRIES: Final = 5
_PARTS: Final = ("tables", "views", "columns", "dropped_columns", "types")
_NAME_IN_TYPE: Final = re.compile(r'"((?:[^"]|"")+)"|(\w+)')


class SchemaReader:
    """Reads the schema from one node: the one that notifies the driver of changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=dict_factory)
        self._columns = dict(_SELECTED)

    async def version(self) -> UUID:
        """Return the version of the node's schema, which differs after every change. Raises as `execute` does."""
        rows = await self._ask(_VERSION)
        if not rows:
            raise CassandraUnavailableError("expected the node to report its schema version, found none")
        version: UUID = rows[0]["schema_version"]
        return version

    def release(self) -> str:
        """Return the release version of the node that is queried, an empty string if it is not known."""
        host = self._session.cluster.get_control_connection_host()
        return str(getattr(host, "release_version", None) or "")

    async def tables_without_write_times(self, tables: Iterable[Mapping[str, Any]]) -> frozenset[TableName]:
        """Return the tables of Amazon Keyspaces that have no client-side timestamps. Raises as `execute` does."""
        timed = set()
        for row in await self._ask(_CLIENT_TIMESTAMPS):
            setting = (row.get("custom_properties") or {}).get("client_side_timestamps") or {}
            if str(setting.get("status", "")).lower() == "enabled":
                timed.add(TableName(row["keyspace_name"], row["table_name"]))
        return frozenset({TableName(row["keyspace_name"], row["table_name"]) for row in tables} - timed)

    async def agreed(self) -> bool:
        """Return whether all nodes that are up have the same schema. Raises as `execute` does."""
        version = await self.version()
        down = {host.address for host in self._session.cluster.metadata.all_hosts() if not host.is_up}
        peers = await self._ask(_PEERS)
        return all(peer["schema_version"] in (None, version) for peer in peers if peer["peer"] not in down)

    async def rows(self) -> tuple[UUID, Rows]:
        """Return the schema's version and its consistent rows. Raises `CassandraUnavailableError`.

        Six queries are not atomic: if the schema changes in between, a table's id may be paired with the columns of its
        predecessor. So the rows count only if the version is the same before and after the queries.
        """
        before = await self.version()
        tries = _TRIES
        while True:
            found = await asyncio.gather(*map(self._select, _SELECTED))
            after = await self.version()
            tries -= 1
            if after == before or not tries:
                break
            before = after
        if after != before:
            log.warning("schema.changes_while_read", tries=_TRIES)
        return before, dict(zip(_SELECTED, found, strict=True))

    async def _select(self, table: str) -> list[dict[str, Any]]:
        try:
            return await self._ask(f"SELECT {self._columns[table]} FROM system_schema.{table}")  # noqa: S608 -- constants
        except (CassandraRefusedError, Unauthorized) as error:
            older = _OLDER.get(table, self._columns[table])
            if isinstance(error, CassandraRefusedError) and older != self._columns[table]:
                self._columns[table] = older
                return await self._select(table)
            if table not in _OPTIONAL:
                raise
            log.debug("schema.table_missing", table=f"system_schema.{table}", error=str(error))
            return []

    async def _ask(self, query: str) -> list[dict[str, Any]]:
        host = self._session.cluster.get_control_connection_host()
        if host is not None and host.is_up:
            try:
                return await execute(self._session, SimpleStatement(query), execution_profile=self._profile, host=host)
            except CassandraUnavailableError:
                log.debug("schema.another_node_asked", instead_of=str(host.endpoint))
        return await execute(self._session, SimpleStatement(query), execution_profile=self._profile)


def snapshot(rows: Rows, keyspaces: Collection[str] | None = None) -> Rows:
    """Return rows as plain values for JSON, of these keyspaces or of all.

    A snapshot is the input of `Schema.from_rows`. UUIDs, times and addresses are strings, blobs are strings of `0x` and
    hex digits, sets are lists. Views are included if there are any.
    """
    return {
        part: [_plain_row(row) for row in found if keyspaces is None or row["keyspace_name"] in keyspaces]
        for part, found in rows.items()
        if part != "views" or found
    }


def read_snapshot(text: bytes, *, file: str) -> Schema:
    """Build a schema from a snapshot. Raises `ConfigError` if it is not a snapshot."""
    try:
        content = json.loads(text)
        rows = {part: content.get(part, []) for part in _PARTS}
        return Schema.from_rows(**rows)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(
            "expected a snapshot of a schema, found something else",
            hint="cdc-daemon schema export writes one",
            file=file,
            reason=f"{type(error).__name__}: {error}",
        ) from error


def table_definitions(rows: Rows) -> Iterator[TableDefinition]:
    """Split the schema: return each table and view of users' keyspaces with all rows of its metadata."""
    by_table = {part: _by_table(rows[part]) for part in ("columns", "dropped_columns")}
    types: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows["types"]:
        types.setdefault(row["keyspace_name"], {})[row["type_name"]] = row
    for part, naming in (("tables", "table_name"), ("views", "view_name")):
        for row in rows[part]:
            keyspace, name = row["keyspace_name"], row[naming]
            if keyspace in SYSTEM_KEYSPACES:
                continue
            kept = ("keyspace_name", naming, "id", "flags", "cdc")
            content: Rows = {"tables": [], part: [_plain_row({key: row[key] for key in kept if key in row})]}
            for other, found in by_table.items():
                content[other] = sorted(map(_plain_row, found.get((keyspace, name), ())), key=_column_name)
            used = _used_types([*content["columns"], *content["dropped_columns"]], types.get(keyspace, {}))
            content["types"] = [_plain_row(each) for each in used]
            text = json.dumps(content, separators=(",", ":"), sort_keys=True)
            yield TableDefinition(row["id"].bytes, keyspace, name, text)


def remembered_schema(generations: Iterable[TableDefinition]) -> Schema:
    """Build the schema of all generations, oldest first, the newer of one table merged with the older."""
    layers: list[list[TableMetadata]] = []
    problems: list[CommitLogError] = []
    counts: dict[bytes, int] = {}
    for each in generations:
        found = Schema.from_rows(**json.loads(each.definition))
        problems += found.problems
        number = counts[each.table_id] = counts.get(each.table_id, -1) + 1
        if number == len(layers):
            layers.append([])
        layers[number] += found
    schema = Schema(problems=problems)
    for layer in layers:
        schema = Schema(layer).merged(schema)
    return schema


def _by_table(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["keyspace_name"], row["table_name"]), []).append(row)
    return found


def _column_name(row: Mapping[str, Any]) -> str:
    return str(row["column_name"])


def _used_types(columns: Iterable[Mapping[str, Any]], types: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the UDTs that these columns' types use, at any depth, by name."""
    used: dict[str, dict[str, Any]] = {}
    waiting = [str(column["type"]) for column in columns]
    while waiting:
        for quoted, word in _NAME_IN_TYPE.findall(waiting.pop()):
            name = quoted.replace('""', '"') or word
            if name in types and name not in used:
                used[name] = types[name]
                waiting += types[name]["field_types"]
    return [used[name] for name in sorted(used)]


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in row.items()}
    if isinstance(moment := plain.get("dropped_time"), int):
        plain["dropped_time"] = _spell_milliseconds(moment)
    return plain


def _spell_milliseconds(moment: int) -> str | int:
    """Return a time as text if `datetime` can represent it, otherwise as its number (milliseconds since the epoch)."""
    try:
        return str(datetime(1970, 1, 1) + timedelta(milliseconds=moment))  # noqa: DTZ001 -- the driver's are naive too
    except OverflowError:
        return moment


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Collection):
        return [_plain(each) for each in value]
    return str(value)
