"""One declared mapping against one table: which columns become which fields, and what the index looks like."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.commitlog.types import CqlType
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.identity import IDENTITY_LIMIT, Identity
from cdc_daemon.document.values import Converter, converter
from cdc_daemon.errors import ConfigError, DocumentError

PARTITION_FIELD = "cdc_partition_key"
"""The keyword by which the documents of a partition are found; only tables with clustering columns need it."""

CLUSTERING_FIELD = "cdc_clustering"
"""The row's clustering values, hexadecimal: what of the key the partition does not tell. It is not indexed."""

LONGEST_PARTITION_TERM = 32_000
"""Bytes of a partition key kept in the keyword: Lucene refuses terms over 32 766 bytes."""

Layout = tuple[tuple[int, str, Converter | None], ...]
"""For each field: where its value is in a row, its name, and what makes the value JSON."""

RowKey = tuple[bytes, Sequence[bytes | None]]
"""A row's partition key and clustering values, serialised."""

_FIELD_TYPES = {
    "bigint": "long",
    "blob": "binary",
    "boolean": "boolean",
    "counter": "long",
    "date": "date",
    "double": "double",
    "float": "float",
    "int": "integer",
    "smallint": "short",
    "timestamp": "date",
    "tinyint": "byte",
}


class DocumentMapping:
    """Builds documents of one object type from the rows of one table.

    The columns shown are those that the table has when the mapping is made. Raises `ConfigError` when the
    settings name a column that the table does not have.
    """

    def __init__(self, name: str, settings: MappingSettings, table: TableMetadata) -> None:
        self.name = name
        self.alias = settings.alias
        self.table = table
        self._identity = Identity(table, settings.id)
        self._keep_nulls = settings.nulls == "keep"
        types = {column.name: column.type for column in _all_columns(table)}
        self._types = _mapped_types(name, settings, types)
        self._names = {column: settings.fields.get(column, column) for column in self._types}
        self._key_width = len(table.partition_key) + len(table.clustering)

    def id_of(self, key: Sequence[Any]) -> str:
        """Return a document's `_id` for its key's values. Raises `DocumentError` when Elasticsearch takes none such."""
        identity = self._identity.of(key)
        if not identity or len(identity.encode("utf-8", "surrogatepass")) > IDENTITY_LIMIT:
            raise DocumentError(
                f"expected an _id of 1 to {IDENTITY_LIMIT} bytes, found {len(identity.encode())}",
                hint="shorten the id's template",
                object_type=self.name,
                id=identity[:64],
            )
        return identity

    def layout(self, columns: Sequence[str]) -> Layout:
        """Return where the fields' values are in rows of these columns; a column that was dropped is left out."""
        places = {column: at for at, column in enumerate(columns)}
        return tuple(
            (places[column], self._names[column], converter(kind))
            for column, kind in self._types.items()
            if column in places
        )

    def body_of(self, row: Sequence[Any], layout: Layout, key: RowKey) -> bytes:
        """Return the document's source as JSON. Raises `DocumentError` when a value cannot be JSON.

        `key` is the row's partition key and clustering, serialised.
        """
        partition_key, clustering = key
        document: dict[str, Any] = {}
        for at, field, convert in layout:
            value = row[at]
            if value is not None:
                document[field] = value if convert is None else convert(value)
            elif self._keep_nulls:
                document[field] = None
        if clustering:
            document[PARTITION_FIELD] = partition_term(partition_key)
            document[CLUSTERING_FIELD] = [None if part is None else part.hex() for part in clustering]
        try:
            return orjson.dumps(document)
        except (orjson.JSONEncodeError, TypeError) as error:
            raise DocumentError(f"a value cannot be written as JSON: {error}", object_type=self.name) from error

    def key_of(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return the key's values of a row."""
        return row[: self._key_width]

    @property
    def bookkeeping(self) -> Mapping[str, Any]:
        """The daemon's own fields, as an Elasticsearch mapping's properties."""
        if not self.table.clustering:
            return {}
        return {
            PARTITION_FIELD: {"type": "keyword"},
            CLUSTERING_FIELD: {"type": "keyword", "index": False, "doc_values": False},
        }

    def index_mapping(self) -> Mapping[str, Any]:
        """Return an Elasticsearch mapping for the documents: strict, each field by its column's type."""
        return {
            "dynamic": "strict",
            "properties": {self._names[column]: field_mapping(kind) for column, kind in self._types.items()},
        }


def partition_term(partition_key: bytes) -> str:
    """Return the term by which documents of a partition are found.

    A key longer than Lucene's longest term is cut: other partitions' documents may then be found as
    well, which does no harm, as each is read before anything is done to it.
    """
    return partition_key[: LONGEST_PARTITION_TERM // 2].hex()


def field_mapping(kind: CqlType) -> dict[str, Any]:
    """Return the Elasticsearch field that takes the JSON values of a CQL type."""
    match kind.name:
        case "text" | "ascii":
            return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
        case "list" | "set":
            return field_mapping(kind.parameters[0])
        case "vector":
            return {"type": "object", "enabled": False}
        case "map" | "tuple":
            # Keys of a map are data: mapping each as a field would grow the mapping without bound.
            return {"type": "object", "enabled": False}
        case "udt":
            fields = zip(kind.field_names, kind.parameters, strict=True)
            return {"properties": {name: field_mapping(field) for name, field in fields}}
        case name if name in _FIELD_TYPES:
            return {"type": _FIELD_TYPES[name]}
        case _:
            return {"type": "keyword", "ignore_above": 8191}


def _all_columns(table: TableMetadata) -> Sequence[Any]:
    return (*table.partition_key, *table.clustering, *table.static, *table.regular)


def _mapped_types(name: str, settings: MappingSettings, types: Mapping[str, CqlType]) -> dict[str, CqlType]:
    for part, named in (
        ("fields", settings.fields),
        ("include", settings.include or ()),
        ("exclude", settings.exclude or ()),
    ):
        for column in named:
            if column not in types:
                near = difflib.get_close_matches(column, types, n=1)
                raise ConfigError(
                    f"expected a column of {settings.table} in {part}, found {column!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(sorted(types))}",
                    mapping=name,
                )
    chosen = settings.include if settings.include is not None else tuple(types)
    mapped = {column: types[column] for column in chosen if column not in (settings.exclude or ())}
    fields = [settings.fields.get(column, column) for column in mapped]
    twice = sorted({field for field in fields if fields.count(field) > 1})
    if twice:
        raise ConfigError(
            f"expected a field of its own for each column, found {', '.join(twice)} given twice",
            hint="rename or exclude one of the columns",
            mapping=name,
        )
    return mapped
