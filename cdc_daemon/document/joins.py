"""Embedded children and looked-up fields: turns the values read with a row into fields of its document."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import JoinSettings, LookupSettings
from cdc_daemon.document.field_types import ANYTHING, FieldTypes
from cdc_daemon.document.index_mapping import shape_properties
from cdc_daemon.document.related import Joined, Relation, match_key
from cdc_daemon.document.shape import Extra, Shape
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError, JoinLimitError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.values.cql_json import Converter, converter, key_converter

Tables = Mapping[TableName, TableMetadata]


class LookedUp:
    """Fields copied from a row of another table that a column of the current row references.

    `here` are the columns of the current row. Raises `ConfigError` for missing columns.
    """

    def __init__(
        self, place: str, settings: LookupSettings, here: Mapping[str, CqlType], tables: Tables, *, name: str
    ) -> None:
        table = tables[settings.table]
        types = column_types(table)
        for column in settings.fields:
            if column not in types:
                raise ConfigError(
                    f"expected a column of {table} in fields, found {column!r}",
                    hint=nearest_hint(column, types),
                    mapping=place,
                )
        self.settings = settings
        self.place = place
        self.relation = Relation(
            name=name,
            table=settings.table,
            on=match_key(place, settings.on, table, here, whole=True),
            columns=tuple(settings.fields),
        )
        fields = {column: settings.prefix + field for column, field in settings.fields.items()}
        self.extras = [
            Extra(self.relation.value_name(column), field, _or_null(converter(types[column])))
            for column, field in fields.items()
        ]
        self._types = {field: types[column] for column, field in fields.items()}

    def properties(self, types: FieldTypes) -> dict[str, Any]:
        """Return the fields as an Elasticsearch mapping's properties."""
        return {field: types.of(kind) for field, kind in self._types.items()}


class Embedded:
    """The rows of a child table as one field of a document: a list, a map, or the first of them."""

    def __init__(
        self,
        place: str,
        field: str,
        settings: JoinSettings,
        here: Mapping[str, CqlType],
        tables: Tables,
        *,
        name: str,
    ) -> None:
        table = tables[settings.table]
        types = column_types(table)
        self.field = field
        self.place = place
        self.settings = settings
        self.lookups = [
            LookedUp(f"{place}.lookups.{each}", declared, types, tables, name=f"{name}\0{each}")
            for each, declared in settings.lookups.items()
        ]
        extras = [extra for lookup in self.lookups for extra in lookup.extras]
        self._shape = Shape(place, settings, types, made=[extra.field for extra in extras])
        self._extras = extras
        self._order = _order_of(place, settings.order or (), types)
        self._key = None if settings.key is None else _checked(place, "key", settings.key, types)
        self._key_text = None if self._key is None else key_converter(types[self._key])
        self.relation = Relation(
            name=name,
            table=settings.table,
            on=match_key(place, settings.on, table, here, whole=False),
            columns=self._columns(types),
            limit=settings.limit,
            lookups=tuple(lookup.relation for lookup in self.lookups),
        )
        self.extra = Extra(self.relation.joined_name, field, self.make)
        self.ambiguous = self._key is not None and not _is_unique(table, self._key, settings.on)
        """Whether several children may have the same entry name in a map. The last in their order is shown."""
        self._makers: dict[tuple[str, ...], Callable[[Sequence[Sequence[Any]]], Any]] = {}

    def properties(self, types: FieldTypes) -> dict[str, Any]:
        """Return the Elasticsearch mapping of the field."""
        if self.settings.form == "map":
            return dict(ANYTHING)  # entry names are data
        made: dict[str, Any] = {"properties": shape_properties(self._shape, types)}
        for lookup in self.lookups:
            made["properties"] |= lookup.properties(types)
        return {"type": "nested", **made} if self.settings.nested else made

    @property
    def columns_shown(self) -> Sequence[str]:
        """The columns of the child table that the field shows."""
        return tuple(self._shape.fields)

    def make(self, joined: Joined | None) -> Any:
        """Return the field's value. Raises `JoinLimitError` if there are more children than the limit."""
        columns, rows, complete = joined or Joined((), ())
        if not complete:
            raise JoinLimitError(
                f"expected at most {self.settings.limit} rows of {self.settings.table}, found more",
                hint=f"raise {self.place}.limit, or leave the join out",
            )
        if not rows:
            return {"list": [], "map": {}, "first": None}[self.settings.form]
        maker = self._makers.get(columns)
        if maker is None:
            maker = self._makers[columns] = self._maker(columns)
        return maker(rows)

    def _maker(self, columns: tuple[str, ...]) -> Callable[[Sequence[Sequence[Any]]], Any]:
        build = self._shape.compile(columns, self._extras)
        condition = self._shape.condition(columns)
        places = {column: at for at, column in enumerate(columns)}
        order = [(places[column], descending) for column, descending in self._order if column in places]
        form, text = self.settings.form, self._key_text
        key = places.get(self._key or "")

        def make(rows: Sequence[Sequence[Any]]) -> Any:
            shown = rows if condition is None else [row for row in rows if condition(row)]
            for at, descending in reversed(order):
                shown = _sorted(shown, at, descending=descending)
            if form == "first":
                return build(shown[0]) if shown else None
            if form == "list":
                return [build(row) for row in shown]
            if key is None or text is None:
                return {}
            return {text(row[key]): build(row) for row in shown if row[key] is not None}

        return make

    def _columns(self, types: Mapping[str, CqlType]) -> tuple[str, ...]:
        wanted = set(self._shape.used) | {column for column, _ in self._order}
        wanted |= {referring for lookup in self.lookups for _, referring in lookup.relation.on}
        if self._key is not None:
            wanted.add(self._key)
        return tuple(column for column in types if column in wanted)


def column_types(table: TableMetadata) -> dict[str, CqlType]:
    """Return a table's columns in order, the key's first, with their types."""
    columns = (*table.partition_key, *table.clustering, *table.static, *table.regular)
    return {column.name: column.type for column in columns}


def _or_null(convert: Converter | None) -> Converter:
    if convert is None:
        return lambda value: value
    return lambda value: None if value is None else convert(value)


def _is_unique(table: TableMetadata, key: str, on: Collection[str]) -> bool:
    """Return whether `key` is unique among rows with equal values in the columns `on`."""
    names = {column.name for column in (*table.partition_key, *table.clustering)}
    return names - set(on) <= {key}


def _order_of(place: str, order: Sequence[str], types: Mapping[str, CqlType]) -> list[tuple[str, bool]]:
    return [
        (column, False) if column in types else (_checked(place, "order", column.removeprefix("-"), types), True)
        for column in order
    ]


def _checked(place: str, part: str, column: str, types: Mapping[str, CqlType]) -> str:
    if column not in types:
        raise ConfigError(
            f"expected a column of the table in {part}, found {column!r}",
            hint=nearest_hint(column, types),
            mapping=place,
        )
    return column


def _sorted(rows: Sequence[Sequence[Any]], at: int, *, descending: bool) -> list[Sequence[Any]]:
    """Sort by one value. The sort is stable; nulls are last in both directions."""
    known = sorted((row for row in rows if row[at] is not None), key=lambda row: row[at], reverse=descending)
    return [*known, *(row for row in rows if row[at] is None)]
