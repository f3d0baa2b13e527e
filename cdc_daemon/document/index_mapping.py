"""Elasticsearch mappings generated from declared mappings: strict, each field typed by its possible values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cdc_daemon.document.shape import Shape
from cdc_daemon.model.cql_types import CqlType

ANYTHING: Mapping[str, Any] = {"type": "object", "enabled": False}
"""A field that takes any JSON value, stored but not indexed: for maps with data as keys and values of unknown type."""

_DIMENSIONS_LIMIT = 4096
"""Maximum dimensions of an indexed vector (documentation of `dense_vector`, Elasticsearch 8.19)."""

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


def shape_properties(shape: Shape) -> dict[str, Any]:
    """Return the properties of a shape's objects, without the fields that joins and look-ups add."""
    made: dict[str, Any] = {}
    for column, field in shape.fields.items():
        made[field] = _column_mapping(shape, column)
    for field, expression in shape.computed.items():
        only = expression.only_name
        if expression.is_boolean:
            made[field] = {"type": "boolean"}
        elif only is not None and only in shape.types:
            made[field] = field_mapping(shape.types[only], shape.rename)
        elif only is not None and only in made:
            made[field] = made[only]
        else:
            made[field] = dict(ANYTHING)
    return made | {field: constant_mapping(value) for field, value in shape.constants.items()}


def _column_mapping(shape: Shape, column: str) -> dict[str, Any]:
    if column in shape.json_texts:
        return dict(ANYTHING)
    pattern = shape.dates.get(column)
    if pattern is not None:
        form = {"type": "date", "format": pattern.replace("yyyy", "uuuu")}
        return form if shape.types[column].name in {"timestamp", "date", "list", "set"} else dict(ANYTHING)
    return field_mapping(shape.types[column], shape.rename)


def field_mapping(kind: CqlType, rename: Callable[[str], str] = str) -> dict[str, Any]:
    """Return the Elasticsearch field for the JSON values of a CQL type."""
    match kind.name:
        case "text" | "ascii":
            return text_mapping()
        case "list" | "set":
            return field_mapping(kind.parameters[0], rename)
        case "vector":
            return _vector_mapping(kind)
        case "map" | "tuple":
            # Keys of a map are data: mapping each as a field would grow the mapping without bound.
            return dict(ANYTHING)
        case "udt":
            fields = zip(kind.field_names, kind.parameters, strict=True)
            return {"properties": {rename(name): field_mapping(field, rename) for name, field in fields}}
        case name if name in _FIELD_TYPES:
            return {"type": _FIELD_TYPES[name]}
        case _:
            return {"type": "keyword", "ignore_above": 8191}


def text_mapping() -> dict[str, Any]:
    """Return the field for a text that is searchable by word and as a whole."""
    return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


def constant_mapping(value: Any) -> dict[str, Any]:
    """Return the Elasticsearch field for a constant's JSON value."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "long"}
        case float():
            return {"type": "double"}
        case str():
            return text_mapping()
        case _:
            return dict(ANYTHING)


def _vector_mapping(kind: CqlType) -> dict[str, Any]:
    if kind.parameters[0].name not in {"float", "double"} or kind.dimension > _DIMENSIONS_LIMIT:
        return dict(ANYTHING)
    # The default similarity, cosine, is not used: it rejects documents with a vector of length zero.
    return {"type": "dense_vector", "dims": kind.dimension, "index": True, "similarity": "l2_norm"}
