"""Elasticsearch mappings generated from declared mappings: strict, each field typed by its possible values."""

from __future__ import annotations

from typing import Any

from cdc_daemon.document.field_types import ANYTHING, FieldTypes, text_mapping
from cdc_daemon.document.shape import Shape


def shape_properties(shape: Shape, types: FieldTypes) -> dict[str, Any]:
    """Return the properties of a shape's objects, without the fields that joins and look-ups add."""
    made: dict[str, Any] = {}
    for column, field in shape.fields.items():
        made[field] = _column_mapping(shape, column, types)
    for field, expression in shape.computed.items():
        only = expression.only_name
        if expression.is_boolean:
            made[field] = {"type": "boolean"}
        elif only is not None and only in shape.types:
            made[field] = types.of(shape.types[only], shape.rename)
        elif only is not None and only in made:
            made[field] = made[only]
        else:
            made[field] = dict(ANYTHING)
    return made | {field: constant_mapping(value) for field, value in shape.constants.items()}


def _column_mapping(shape: Shape, column: str, types: FieldTypes) -> dict[str, Any]:
    if column in shape.json_texts:
        return dict(ANYTHING)
    kind, pattern = shape.types[column], shape.dates.get(column)
    if pattern is not None and kind.name != "map":
        form = {"type": "date", "format": pattern.replace("yyyy", "uuuu")}
        return form if kind.name in {"timestamp", "date", "list", "set"} else dict(ANYTHING)
    return types.of(kind, shape.rename)


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
