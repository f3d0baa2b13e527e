"""One declared mapping against one table: which rows become which documents, and what the index looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.hook import call_hook, load_hook
from cdc_daemon.document.identity import Identity, KeyTemplate, short_id
from cdc_daemon.document.index_mapping import shape_properties
from cdc_daemon.document.nearest import nearest_hint
from cdc_daemon.document.shape import Shape
from cdc_daemon.errors import ConfigError, DocumentError

PARTITION_FIELD = "cdc_partition_key"
"""The keyword by which the documents of a partition are found; only tables with clustering columns need it."""

CLUSTERING_FIELD = "cdc_clustering"
"""The row's clustering values, hexadecimal: what of the key the partition does not tell. It is not indexed."""

KEY_FIELD = "cdc_key"
"""The readable `_id` of a document whose `_id` is its hash, because Elasticsearch takes none so long."""

LONGEST_PARTITION_TERM = 32_000
"""Bytes of a partition key kept in the keyword: Lucene refuses terms over 32 766 bytes."""

LONGEST_KEY_TERM = 8191
"""Characters of a readable key that is searched for: four bytes each at most, within Lucene's 32 766 bytes."""

Row = Sequence[Any]

RowKey = tuple[bytes, Sequence[bytes | None]]
"""A row's partition key and clustering values, serialised."""


class Document(NamedTuple):
    """What one row is in the index: nothing where `body` is None, because the mapping does not show the row."""

    id: str
    body: bytes | None
    routing: str | None


class DocumentMapping:
    """Builds documents of one object type from the rows of one table.

    The columns shown are those that the table has when the mapping is made. Raises `ConfigError` when the
    settings name a column that the table does not have.
    """

    def __init__(self, name: str, settings: MappingSettings, table: TableMetadata) -> None:
        self.name = name
        self.alias = settings.alias
        self.table = table
        self.pipeline = settings.pipeline
        self.on_truncate = settings.on_truncate
        self.on_drop = settings.on_drop
        types = {column.name: column.type for column in _all_columns(table)}
        self._shape = Shape(name, settings, types)
        self._identity = Identity(table, settings.id)
        self._routing = (
            None if settings.routing is None else KeyTemplate(table, settings.routing, what="the routing's template")
        )
        self._hook_name = settings.hook or ""
        self._hook = None if settings.hook is None else load_hook(settings.hook)
        self._field_types = settings.field_types
        self._key_width = len(table.partition_key) + len(table.clustering)
        self._check_field_types()

    @property
    def identity(self) -> Identity:
        """How the `_id` is made."""
        return self._identity

    def id_of(self, key: Sequence[Any]) -> str:
        """Return a document's `_id` for its key's values. Raises `DocumentError` when Elasticsearch takes none such."""
        return self._names(key)[0]

    def routing_of(self, key: Sequence[Any]) -> str | None:
        """Return a document's routing value for its key's values."""
        return None if self._routing is None else self._routing.of(key)

    def compile(self, columns: Sequence[str]) -> Callable[[Row, RowKey], Document]:
        """Return what builds the documents of rows with these columns, the key's first.

        A column that was dropped is left out. What is returned takes a row with its key, serialised, and raises
        `DocumentError` when the row cannot be a document.
        """
        build = self._shape.compile(columns)
        condition = self._shape.condition(columns)
        width, hook, clustered = self._key_width, self._hook, bool(self.table.clustering)
        names = tuple(columns)

        def document_of(row: Row, key: RowKey) -> Document:
            values = row[:width]
            identity, readable = self._names(values)
            routing = None if self._routing is None else self._routing.of(values)
            try:
                if condition is not None and not condition(row):
                    return Document(identity, None, routing)
                made: dict[str, Any] | None = build(row)
                if hook is not None:
                    assert made is not None
                    made = call_hook(self._hook_name, hook, made, dict(zip(names, row, strict=True)), {})
            except DocumentError as error:
                raise DocumentError(error.message, hint=error.hint, **self._place(identity), **error.where) from error
            except Exception as error:
                reason = f"a value does not fit: {type(error).__name__}: {error}"
                raise DocumentError(reason, **self._place(identity)) from error
            if made is None:
                return Document(identity, None, routing)
            if clustered:
                partition_key, clustering = key
                made[PARTITION_FIELD] = partition_term(partition_key)
                made[CLUSTERING_FIELD] = [None if part is None else part.hex() for part in clustering]
            if readable is not identity:
                made[KEY_FIELD] = readable
            return Document(identity, self._encode(made, identity), routing)

        return document_of

    @property
    def bookkeeping(self) -> Mapping[str, Any]:
        """The daemon's own fields, as an Elasticsearch mapping's properties."""
        fields: dict[str, Any] = {KEY_FIELD: {"type": "keyword", "ignore_above": LONGEST_KEY_TERM}}
        if self.table.clustering:
            fields[PARTITION_FIELD] = {"type": "keyword"}
            fields[CLUSTERING_FIELD] = {"type": "keyword", "index": False, "doc_values": False}
        return fields

    def index_mapping(self) -> Mapping[str, Any]:
        """Return an Elasticsearch mapping for the documents: strict, each field by its column's type."""
        properties = shape_properties(self._shape)
        return {"dynamic": "strict", "properties": {**properties, **self._field_types}}

    def _names(self, key: Sequence[Any]) -> tuple[str, str]:
        """Return the `_id` and the readable one, the same object where they are equal."""
        readable = self._identity.of(key)
        if not readable:
            raise DocumentError(
                "expected an _id, found an empty one", hint="put a text into the id's template", object_type=self.name
            )
        return short_id(readable), readable

    def _encode(self, document: Mapping[str, Any], identity: str) -> bytes:
        try:
            return orjson.dumps(document)
        except (orjson.JSONEncodeError, TypeError) as error:
            culprit = next((field for field, value in document.items() if not _can_be_json(value)), None)
            raise DocumentError(
                f"a value cannot be written as JSON: {error}", **self._place(identity), field=culprit
            ) from error

    def _place(self, identity: str) -> dict[str, Any]:
        return {"object_type": self.name, "index": self.alias, "id": identity}

    def _check_field_types(self) -> None:
        known = shape_properties(self._shape).keys()
        for field in self._field_types:
            if field not in known and self._hook is None:
                raise ConfigError(
                    f"expected a field of the documents in field_types, found {field!r}",
                    hint=nearest_hint(field, known),
                    mapping=self.name,
                )


def partition_term(partition_key: bytes) -> str:
    """Return the term by which documents of a partition are found.

    A key longer than Lucene's longest term is cut: other partitions' documents may then be found as
    well, which does no harm, as each is read before anything is done to it.
    """
    return partition_key[: LONGEST_PARTITION_TERM // 2].hex()


def _all_columns(table: TableMetadata) -> Sequence[Any]:
    return (*table.partition_key, *table.clustering, *table.static, *table.regular)


def _can_be_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError):
        return False
    return True
