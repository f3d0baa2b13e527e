"""The names that `types` knows: CQL types, and the index's types of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from cdc_daemon.config.base import wrong
from cdc_daemon.model.text import nearest_hint

TYPE_NAMES = (
    *("ascii", "bigint", "blob", "boolean", "counter", "date", "decimal", "double", "duration", "float", "inet"),
    *(
        "int",
        "map",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "tuple",
        "uuid",
        "varint",
        "vector",
    ),
)
"""The CQL types whose field can be declared. A list or set has the field of its elements, a user type several."""

NUMBERS = frozenset(
    ("byte", "double", "float", "half_float", "integer", "long", "scaled_float", "short", "unsigned_long")
)
"""The index's types of numbers."""


def _check_types(types: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    for name, field in types.items():
        if name in {"list", "set", "udt", "frozen"}:
            raise wrong(
                f"expected the type of a value, found {name}",
                hint="a list or set has the field of its elements, and a user type those of its fields",
            )
        if name not in TYPE_NAMES:
            near = nearest_hint(name, TYPE_NAMES)
            raise wrong(
                f"expected the name of a CQL type, found {name!r}", hint=near or f"one of {', '.join(TYPE_NAMES)}"
            )
        if not isinstance(field.get("type"), str):
            raise wrong(f"expected a field with a type for {name}", hint=f"such as {name}: {{type: keyword}}")
    return types


FieldsByType = Annotated[Mapping[str, Mapping[str, Any]], AfterValidator(_check_types)]
