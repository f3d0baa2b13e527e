"""The tables that a command knows: from a schema snapshot, or from the cluster and the daemon's schema history."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.schema_rows import read_snapshot, remembered_schema
from cdc_daemon.cassandra.session import connect
from cdc_daemon.cli.output import say
from cdc_daemon.cli.segment_tools.state import DaemonState
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError, ConfigError
from cdc_daemon.store.table_history import TableDefinition
from cdc_daemon.telemetry.logs import quiet_logs


class CommandTables(Protocol):
    """The tables that a command knows."""

    @property
    def current(self) -> Schema:
        """The schema with all known tables."""
        ...

    def refresh(self) -> bool:
        """Read the schema again if possible. Return whether it was read."""
        ...


class FixedTables:
    """Tables of a snapshot, which do not change."""

    def __init__(self, schema: Schema) -> None:
        self.current = schema

    def refresh(self) -> bool:
        """Return False: a snapshot is not read again."""
        return False


def snapshot_tables(file: Path) -> FixedTables:
    """Read a snapshot. Raises `ConfigError`."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected a schema snapshot, found {error.strerror or error}", file=str(file)) from error
    return FixedTables(read_snapshot(text, file=str(file)))


class ClusterTables:
    """The tables of the cluster, and those in the schema history of a daemon with this configuration.

    Entering the context connects. Raises `CassandraUnavailableError`, `ConfigError` and `StoreError`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._session = connect(self._settings.cassandra)
        try:
            self._source = SchemaSource(self._session, history=_ReadOnly(DaemonState(self._settings.state.directory)))
            self.refresh()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._session.cluster.shutdown()
        self._runner.close()

    @property
    def current(self) -> Schema:
        """The schema with all known tables."""
        return self._source.current

    def refresh(self) -> bool:
        """Read the schema again."""
        self._runner.run(self._source.refresh())
        return True


class _ReadOnly:
    """The schema history of a daemon, without writing to it."""

    def __init__(self, state: DaemonState) -> None:
        self._state = state

    def load(self) -> Sequence[TableDefinition]:
        return self._state.generations() if self._state.exists else ()

    def record(self, _current: Iterable[TableDefinition]) -> int:
        return 0


class TableFilter:
    """The ids of the tables that the options --keyspace and --table select, as a container."""

    def __init__(self, tables: CommandTables, keyspaces: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        self._tables = tables
        self._keyspaces = frozenset(keyspaces)
        self._names = frozenset(names)

    def __contains__(self, table_id: object) -> bool:
        assert isinstance(table_id, bytes)
        table = self._tables.current.get(table_id)
        return table is not None and self._wants(table)

    @property
    def everything(self) -> bool:
        """Whether the filter selects all tables."""
        return not self._keyspaces and not self._names

    def _wants(self, table: TableMetadata) -> bool:
        if self._keyspaces and table.keyspace not in self._keyspaces:
            return False
        return not self._names or table.name in self._names or str(table) in self._names

    def check(self) -> None:
        """Raise `ConfigError` if the filter selects no known table, probably because of a typing error."""
        if any(self._wants(table) for table in self._tables.current):
            return
        known = list(self._tables.current)
        asked = sorted(self._names or self._keyspaces)
        within = f" in {' or '.join(sorted(self._keyspaces))}" if self._names and self._keyspaces else ""
        among = {table.keyspace for table in known}
        if self._names:
            among = {table.name for table in known} | {str(table) for table in known}
        near = [match for each in asked for match in difflib.get_close_matches(each, among, n=1)]
        raise ConfigError(
            f"expected a table of the schema, found none of {' or '.join(asked)}{within}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"it has {len(known)} tables",
        )


@contextmanager
def open_tables(snapshot: Path | None, settings: Settings | None) -> Iterator[CommandTables]:
    """Yield the tables of a snapshot, or else those of the configured cluster.

    If the cluster does not answer, the tables are those in the daemon's schema history. Raises `CdcError`.
    """
    quiet_logs()
    with ExitStack() as stack:
        if snapshot is not None:
            yield snapshot_tables(snapshot)
            return
        assert settings is not None, "tables come from a snapshot or from a cluster"
        tables: CommandTables
        try:
            tables = stack.enter_context(ClusterTables(settings))
        except CassandraUnavailableError as error:
            tables = _remembered(settings, error)
        yield tables


@contextmanager
def open_tables_if_any(snapshot: Path | None, settings: Settings | None) -> Iterator[CommandTables | None]:
    """Yield the tables as `open_tables` does, or None if there is no source or no answer."""
    quiet_logs()
    with ExitStack() as stack:
        tables = None
        if snapshot is not None or settings is not None:
            try:
                tables = stack.enter_context(open_tables(snapshot, settings))
            except CdcError as error:
                if snapshot is not None:
                    raise
                say(f"note: {error.message}; tables are shown by their ids")
        yield tables


def _remembered(settings: Settings, error: CassandraUnavailableError) -> FixedTables:
    state = DaemonState(settings.state.directory)
    generations = state.generations() if state.exists else []
    if not generations:
        raise error
    say(f"note: {error.message}; using the schema history of the daemon")
    return FixedTables(remembered_schema(generations))
