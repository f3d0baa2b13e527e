"""One declared mapping applied to one table: defines which rows become which documents, and the index's mapping."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.bookkeeping import (
    CLUSTERING_FIELD,
    KEY_FIELD,
    LONGEST_KEY_TERM,
    PARTITION_FIELD,
    UNINDEXED_FIELD,
    partition_term,
)
from cdc_daemon.document.field_types import ANYTHING, DEFAULT_TYPES, FieldTypes, has_flattened
from cdc_daemon.document.hook import call_hook, load_hook
from cdc_daemon.document.identity import Identity, KeyTemplate, short_id
from cdc_daemon.document.index_mapping import shape_properties
from cdc_daemon.document.joins import Embedded, LookedUp, Tables, column_types
from cdc_daemon.document.related import Joined, Related
from cdc_daemon.document.shape import Shape, misfit
from cdc_daemon.model.document_operation import Operation, RemovalMark
from cdc_daemon.model.errors import ConfigError, ConversionError, DocumentError, IdError
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.values.cql_json import json_value
from cdc_daemon.values.messages import error_text, value_text

Row = Sequence[Any]

RowKey = tuple[bytes, Sequence[bytes | None]]
"""A row's partition key and clustering values, serialised."""

RowOperation = Callable[[Row, RowKey, int, float], Operation]
"""Builds the document of a row; the last arguments are the operation's `version` and `read_at`."""


class DocumentMapping:
    """Builds documents of one object type from the rows of one table and the rows joined to them.

    The columns shown are those that the table has when the mapping is created; `tables` are the settings'
    `joined_tables`. Raises `ConfigError` if the settings name a column that a table does not have.
    """

    def __init__(
        self, name: str, settings: MappingSettings, table: TableMetadata, tables: Tables | None = None
    ) -> None:
        self.name = name
        self.alias = settings.alias
        self.table = table
        self.pipeline = settings.pipeline
        self.on_truncate = settings.on_truncate
        self.on_drop = settings.on_drop
        self.mark = settings.mark
        types = column_types(table)
        self.lookups = [
            LookedUp(f"{name}.lookups.{each}", declared, types, tables or {}, name=f"{name}\0{each}")
            for each, declared in settings.lookups.items()
        ]
        self.joins = [
            Embedded(f"{name}.joins.{field}", field, declared, types, tables or {}, name=f"{name}\0\0{field}")
            for field, declared in settings.joins.items()
        ]
        self._extras = [extra for lookup in self.lookups for extra in lookup.extras]
        self._extras += [join.extra for join in self.joins]
        self._shape = Shape(name, settings, types, made=[extra.field for extra in self._extras])
        self._identity = Identity(table, settings.id)
        self._routing = (
            None if settings.routing is None else KeyTemplate(table, settings.routing, what="the routing's template")
        )
        self._hook_name = settings.hook or ""
        self._hook = None if settings.hook is None else load_hook(settings.hook)
        self._field_types = settings.field_types
        self._types = settings.types
        self._key_width = len(table.partition_key) + len(table.clustering)
        self._check_field_types()
        generated = {} if settings.mappings is not None else self.index_mapping()["properties"]
        self._flattened = tuple(sorted(field for field, made in generated.items() if has_flattened(made)))
        if self.mark is not None:
            self._check_mark(self.mark)

    @property
    def identity(self) -> Identity:
        """The builder of the `_id`."""
        return self._identity

    def id_of(self, key: Sequence[Any]) -> str:
        """Return a document's `_id` for its key's values. Raises `IdError` if Elasticsearch would reject it."""
        return self._names(key)[0]

    def routing_of(self, key: Sequence[Any]) -> str | None:
        """Return a document's routing value for its key's values. Raises `IdError` if a value has no text form."""
        try:
            return None if self._routing is None else self._routing.of(key)
        except Exception as error:
            raise self._no_id("a routing value", error) from error

    def compile(self, columns: Sequence[str]) -> RowOperation:
        """Return a function that builds the documents of rows with these columns, key columns first.

        Dropped columns are left out. The function deletes the documents of rows that the mapping does not show. It
        raises `DocumentError` if no document can be built from the row.
        """
        build = self._shape.compile(columns, self._extras)
        condition = self._shape.condition(columns)
        width, hook, clustered = self._key_width, self._hook, bool(self.table.clustering)
        hooked = _HookArguments(self, columns)
        alias, pipeline, flattened = self.alias, self.pipeline, self._flattened

        def operation_of(row: Row, key: RowKey, version: int, read_at: float) -> Operation:
            values = row[:width]
            identity, readable = self._names(values)
            routing = self.routing_of(values)
            try:
                if condition is not None and not condition(row):
                    return Operation(alias, identity, version, None, read_at, routing, pipeline, filtered=True)
                made: dict[str, Any] | None = build(row)
                if hook is not None:
                    assert made is not None
                    made = call_hook(self._hook_name, hook, made, hooked.row(row), hooked.joined(row))
            except DocumentError as error:
                place = {**self._place(identity), **error.where}
                raise type(error)(error.message, hint=error.hint, **place) from error
            except Exception as error:
                raise ConversionError(misfit(error), **self._place(identity)) from error
            if made is None:
                return Operation(alias, identity, version, None, read_at, routing, pipeline, filtered=True)
            if clustered:
                partition_key, clustering = key
                made[PARTITION_FIELD] = partition_term(partition_key)
                made[CLUSTERING_FIELD] = [None if part is None else part.hex() for part in clustering]
            if readable is not identity:
                made[KEY_FIELD] = readable
            body = self._encode(made, identity)
            return Operation(alias, identity, version, body, read_at, routing, pipeline, flattened=flattened)

        return operation_of

    def removal(self, key: Sequence[Any], version: int, read_at: float) -> Operation:
        """Return the deletion of a document, or its mark, by its key's values. Raises `IdError`."""
        return Operation(self.alias, self.id_of(key), version, None, read_at, self.routing_of(key), mark=self.mark)

    def source_of(self, columns: Sequence[str], row: Row) -> bytes:
        """Return as JSON the values of a row with these columns that its document is built from."""
        joined = {join.relation.joined_name: join.columns_shown for join in self.joins}
        return row_source(columns, row, shown={*columns[: self._key_width], *self._shape.fields}, joined=joined)

    @property
    def related(self) -> Related:
        """What must be read together with each row."""
        return Related(tuple(each.relation for each in self.lookups), tuple(each.relation for each in self.joins))

    @property
    def fields(self) -> Mapping[str, str]:
        """The columns shown, each with its field."""
        return self._shape.fields

    @property
    def bookkeeping(self) -> Mapping[str, Any]:
        """The daemon's own fields, as an Elasticsearch mapping's properties."""
        fields: dict[str, Any] = {KEY_FIELD: {"type": "keyword", "ignore_above": LONGEST_KEY_TERM}}
        if self.table.clustering:
            fields[PARTITION_FIELD] = {"type": "keyword"}
            fields[CLUSTERING_FIELD] = {"type": "keyword", "index": False, "doc_values": False}
        if self._flattened:
            fields[UNINDEXED_FIELD] = dict(ANYTHING)
        if self.mark is not None:
            fields[self.mark.field] = {"type": "boolean"}
            if self.mark.time_field is not None:
                fields[self.mark.time_field] = {"type": "date"}
        return fields

    def index_mapping(self) -> Mapping[str, Any]:
        """Return an Elasticsearch mapping for the documents: strict, each field by its column's type."""
        return self._mapping(FieldTypes(self._types))

    def former_index_mapping(self) -> Mapping[str, Any]:
        """Return the mapping with the defaults of earlier versions, which an existing index may have."""
        return self._mapping(FieldTypes(self._types, former=True))

    def _mapping(self, types: FieldTypes) -> Mapping[str, Any]:
        return {"dynamic": "strict", "properties": {**self._properties(types), **self._field_types}}

    def _properties(self, types: FieldTypes) -> dict[str, Any]:
        made = shape_properties(self._shape, types)
        for lookup in self.lookups:
            made |= lookup.properties(types)
        return made | {join.field: join.properties(types) for join in self.joins}

    def _names(self, key: Sequence[Any]) -> tuple[str, str]:
        """Return the `_id` and the readable `_id`: the same object if they are equal."""
        try:
            readable = self._identity.of(key)
        except Exception as error:
            raise self._no_id("an _id", error) from error
        if not readable:
            raise IdError(
                "expected an _id, found an empty one", hint="put a text into the id's template", object_type=self.name
            )
        return short_id(readable), readable

    def _no_id(self, what: str, error: Exception) -> IdError:
        return IdError(
            f"the key makes no text for {what}: {error_text(error)}", object_type=self.name, index=self.alias
        )

    def _encode(self, document: Mapping[str, Any], identity: str) -> bytes:
        try:
            return orjson.dumps(document)
        except (orjson.JSONEncodeError, TypeError, RecursionError) as error:
            culprit = next((field for field, value in document.items() if not _can_be_json(value)), None)
            raise ConversionError(
                f"a value cannot be written as JSON: {error}", **self._place(identity), field=culprit
            ) from error

    def _place(self, identity: str) -> dict[str, Any]:
        return {"object_type": self.name, "index": self.alias, "id": identity}

    def _check_field_types(self) -> None:
        known = self._properties(DEFAULT_TYPES).keys()
        for field in self._field_types:
            if field not in known and self._hook is None:
                raise ConfigError(
                    f"expected a field of the documents in field_types, found {field!r}",
                    hint=nearest_hint(field, known),
                    mapping=self.name,
                )

    def _check_mark(self, mark: RemovalMark) -> None:
        known = self._properties(DEFAULT_TYPES).keys()
        for part, field in zip(("field", "time_field"), mark, strict=True):
            if field in known:
                raise ConfigError(
                    f"expected a field of its own in removal_mark.{part}, found {field!r}, which the documents have",
                    hint=f"set removal_mark: {{{part}: another_name}}, or rename or exclude the column",
                    mapping=self.name,
                )
        if not self._identity.names_whole_key:
            raise ConfigError(
                "expected an id of the whole key with on_row_delete: mark, found one that several rows share",
                hint="name every key column in id: a removed row would mark the document of rows that exist",
                mapping=self.name,
            )


class _HookArguments:
    """The arguments of a hook for a row."""

    def __init__(self, mapping: DocumentMapping, columns: Sequence[str]) -> None:
        places = {column: at for at, column in enumerate(columns)}
        self._row = [(column, at) for column, at in places.items() if not column.startswith("\0")]
        self._joined = [
            (join.field, places[join.relation.joined_name])
            for join in mapping.joins
            if join.relation.joined_name in places
        ]
        self._looked_up = [
            (extra.field, places[extra.column])
            for lookup in mapping.lookups
            for extra in lookup.extras
            if extra.column in places
        ]

    def row(self, row: Row) -> Mapping[str, Any]:
        return {column: row[at] for column, at in self._row} | {field: row[at] for field, at in self._looked_up}

    def joined(self, row: Row) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        found: dict[str, Sequence[Mapping[str, Any]]] = {}
        for field, at in self._joined:
            joined: Joined = row[at]
            names = [column.rpartition("\0")[2] for column in joined.columns]
            found[field] = [dict(zip(names, each, strict=True)) for each in joined.rows]
        return found


def _can_be_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError, RecursionError):
        return False
    return True


def row_source(
    columns: Sequence[str], row: Sequence[Any], *, shown: Collection[str], joined: Mapping[str, Sequence[str]]
) -> bytes:
    """Return a row's values as JSON by the names of its columns, in their order.

    It contains only the columns `shown`: values that a document never shows must not be visible here either. `joined`
    are the shown columns of joined rows, by the rows' names among `columns`. It never fails: a value without a JSON
    form becomes bounded text (`value_text`).
    """
    found: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if column in shown:
            found[column] = _plain(value)
        elif column in joined and isinstance(value, Joined):
            name = column.rpartition("\0")[2]
            found[name] = [_object(value.columns, each, joined[column]) for each in value.rows]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _object(columns: Sequence[str], row: Sequence[Any], shown: Collection[str]) -> dict[str, Any]:
    return {column: _plain(value) for column, value in zip(columns, row, strict=True) if column in shown}


def _plain(value: Any) -> Any:
    try:
        return json_value(value)
    except Exception:  # noqa: BLE001 -- it may be what the document has failed on
        return value_text(value)
