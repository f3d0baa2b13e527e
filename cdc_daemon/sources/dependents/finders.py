"""Finds the documents that show a row of another table: by one of their fields, or by a listing table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import BoundStatement, PreparedStatement, tuple_factory

from cdc_daemon.cassandra.query import pages, prepare
from cdc_daemon.cassandra.read_plan import quote, serialisers
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import DependentsSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.pipeline.routing import find_route, references_of
from cdc_daemon.search.searched_field import SearchedField
from cdc_daemon.sources.unlogged_removals.sweep import DocumentedRows
from cdc_daemon.values.cql_json import converter
from cdc_daemon.values.messages import error_text

log = structlog.get_logger(__name__)

PAGE = 1000

_LOG_INTERVAL = 600.0
"""Seconds until a warning about the same field is repeated."""


class DependentFinder(Protocol):
    """Finds the rows with documents that show a row of another table."""

    @property
    def shown_in(self) -> TableName:
        """The table of these documents."""
        ...

    def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        """Return their keys page by page.

        Keys of documents that were read after `read_before` (µs since epoch) may be left out. Raises as searching or
        reading does.
        """
        ...


class DependentsByField:
    """Finds documents by a field that holds the other row's key.

    The field's mapping is read for each search, because the alias may point to another index by then. Raises
    `ConfigError` where the other table's key has more than one column, which no field can hold.
    """

    def __init__(self, rows: DocumentedRows, alias: str, shown_in: TableName, other: TableMetadata, field: str) -> None:
        key = (*other.partition_key, *other.clustering)
        if len(key) != 1:
            raise ConfigError(
                f"expected a table with one key column for dependents by field, found {other}",
                hint="name a table instead: dependents: {table: …, on: …, key: …}",
                field=field,
            )
        self.shown_in = shown_in
        self._rows = rows
        self._alias = alias
        self._other = other
        self._field = field
        self._convert = converter(key[0].type)

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        """Refresh the index; then return the keys of the documents with the row's key in the field."""
        try:
            (value,) = self._other.key_values(key.partition_key)
            if self._convert is not None:
                value = self._convert(value)
        except Exception as error:  # noqa: BLE001 -- a key may raise anything in Python
            # No document contains such a value, because documents are built from the same values.
            log.warning(
                "dependents.key_without_value", table=str(key.table), error=error_text(error), every=_LOG_INTERVAL
            )
            return
        fields = await self._rows.fields(self._alias, self._field)
        log_field_problems(self._alias, fields)
        matches = {"bool": {"should": [field.query(value) for field in fields], "minimum_should_match": 1}}
        found = self._rows.find(
            self.shown_in, alias=self._alias, query={"bool": {"filter": [matches]}}, read_before=read_before
        )
        async with aclosing(found) as keys:
            async for page in keys:
                yield page


def log_field_problems(alias: str, fields: Iterable[SearchedField]) -> None:
    """Log the fields by which an index cannot return exactly the documents with a value."""
    for field in fields:
        if field.problem is not None:
            log.warning(
                "dependents.field",
                index=alias,
                field=field.name,
                problem=field.problem,
                hint=None
                if field.answers
                else "changes of the other table's row do not reach these documents; "
                "name one of their keyword fields in dependents",
                every=_LOG_INTERVAL,
                every_key=f"{alias} {field.name}",
            )


class DependentsByTable:
    """Finds documents by a listing table: the other row's key names a partition that contains their keys.

    Raises `ConfigError` if the named columns do not exist or are not enough.
    """

    def __init__(
        self,
        session: Session,
        settings: DependentsSettings,
        *,
        listing: TableMetadata,
        shown_in: TableMetadata,
        other: TableMetadata,
        rows: DocumentedRows,
    ) -> None:
        self._rows = rows
        self.shown_in = TableName(shown_in.keyspace, shown_in.name)
        self._session = session
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
        self._other = other
        self._width = len(shown_in.partition_key)
        names = [column.name for column in (*other.partition_key, *other.clustering)]
        partition = [column.name for column in listing.partition_key]
        _check_columns(settings.on, partition, names, what=f"on of dependents by {listing}")
        self._places = [names.index(settings.on[column]) for column in partition]
        wanted = [column.name for column in (*shown_in.partition_key, *shown_in.clustering)]
        columns = [
            column.name for column in (*listing.partition_key, *listing.clustering, *listing.static, *listing.regular)
        ]
        _check_columns(settings.key, wanted, columns, what=f"key of dependents by {listing}")
        selected = ", ".join(quote(settings.key[column]) for column in wanted)
        where = " AND ".join(f"{quote(column)} = ?" for column in partition)
        self._query = f"SELECT {selected} FROM {quote(listing.keyspace)}.{quote(listing.name)} WHERE {where}"  # noqa: S608
        self._prepared: PreparedStatement | None = None

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        """Return the keys in the listing's partition; if several rows were removed, the keys of all documents."""
        parts = (*self._other.split_key(key.partition_key), *(key.clustering or ()))
        if any(at >= len(parts) for at in self._places):
            async with aclosing(self._rows.find(self.shown_in, read_before=read_before)) as every:
                async for found in every:
                    yield found
            return
        try:
            if self._prepared is None:
                self._prepared = await prepare(self._session, self._query)
            statement = BoundStatement(self._prepared)
            statement.raw_values = []
            statement.values = [parts[at] for at in self._places]
            statement.fetch_size = PAGE
            serialise = serialisers(self._prepared)
            async with aclosing(pages(self._session, statement, execution_profile=self._profile)) as answers:
                async for page in answers:
                    listed = [
                        [encode(value) for encode, value in zip(serialise, row, strict=True)]
                        for row in page
                        if None not in row
                    ]
                    yield [
                        Key(self.shown_in, TableMetadata.join_key(each[: self._width]), tuple(each[self._width :]))
                        for each in listed
                    ]
        except CassandraRefusedError:
            self._prepared = None
            raise


def _check_columns(named: Mapping[str, str], needed: Sequence[str], known: Sequence[str], *, what: str) -> None:
    if set(named) != set(needed):
        raise ConfigError(f"expected {what} to name {', '.join(needed)}, found {', '.join(named)}")
    for column in named.values():
        if column not in known:
            raise ConfigError(f"expected a column in {what}, found {column!r}", hint=nearest_hint(column, known))


def make_finders(
    mappings: Iterable[DocumentMapping],
    table_of: Callable[[TableName], TableMetadata],
    *,
    session: Session,
    rows: DocumentedRows,
) -> Mapping[TableName, Sequence[DependentFinder]]:
    """Return, by table, the finders of documents that show its rows and that its keys do not identify.

    Raises `ConfigError` for dependents that cannot be found as declared.
    """
    finders: dict[TableName, list[DependentFinder]] = defaultdict(list)
    for mapping in mappings:
        base = TableName(mapping.table.keyspace, mapping.table.name)
        for reference in references_of(mapping):
            declared, joined = reference.dependents, reference.relation.table
            other = table_of(joined)
            if declared is None or declared.ignore:
                continue
            if find_route(base, mapping.table, other, reference.on) is not None:
                continue
            if declared.field is not None:
                finders[joined].append(DependentsByField(rows, mapping.alias, base, other, declared.field))
            elif declared.table is not None:
                by_table = DependentsByTable(
                    session,
                    declared,
                    listing=table_of(declared.table),
                    shown_in=mapping.table,
                    other=other,
                    rows=rows,
                )
                finders[joined].append(by_table)
    return finders
