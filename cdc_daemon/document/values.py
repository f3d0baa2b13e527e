"""CQL values as JSON values: one converter for each type, chosen once for a column and not for each value."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cassandra.util import Date

from cdc_daemon.commitlog.types import CqlType

Converter = Callable[[Any], Any]


def converter(kind: CqlType) -> Converter | None:
    """Return what turns a driver's value of this type into a JSON value; None when it is one already.

    Nothing is lost on the way: decimals and varints become texts, as JSON readers make floats of long
    numbers; blobs base64; timestamps ISO 8601 in UTC with milliseconds; dates and times ISO 8601;
    durations CQL's ISO form. Sets become lists, maps objects with text keys, UDTs objects, tuples and
    vectors lists. A float that is no number becomes null: Elasticsearch takes none.
    """
    if kind.name in _PLAIN:
        return None
    if kind.name in _SCALARS:
        return _SCALARS[kind.name]
    if kind.name in {"list", "set", "vector"}:
        return _list_of(kind.parameters[0])
    if kind.name == "map":
        return _object_of(*kind.parameters)
    if kind.name == "tuple":
        return _tuple_of(kind.parameters)
    if kind.name == "udt":
        return _fields_of(kind)
    return _blob


def _list_of(element: CqlType) -> Converter:
    convert = converter(element)
    if convert is None:
        return list
    return lambda values: [None if value is None else convert(value) for value in values]


def _object_of(key: CqlType, value: CqlType) -> Converter:
    convert_key, convert_value = key_converter(key), converter(value)
    if convert_value is None:
        return lambda entries: {convert_key(name): entry for name, entry in entries.items()}
    return lambda entries: {
        convert_key(name): None if entry is None else convert_value(entry) for name, entry in entries.items()
    }


def _tuple_of(elements: tuple[CqlType, ...]) -> Converter:
    converts = [converter(element) or _itself for element in elements]
    return lambda values: [
        None if value is None else convert(value) for convert, value in zip(converts, values, strict=False)
    ]


def _fields_of(kind: CqlType) -> Converter:
    converts = [
        (name, converter(field) or _itself) for name, field in zip(kind.field_names, kind.parameters, strict=True)
    ]
    return lambda values: {
        name: None if value is None else convert(value)
        for (name, convert), value in zip(converts, values, strict=False)
    }


def key_converter(kind: CqlType) -> Callable[[Any], str]:
    """Return what turns a driver's value into the text it is known by in an `_id` or as an object's key."""
    if kind.name in {"text", "ascii"}:
        return str
    convert = converter(kind) or _itself
    return lambda value: text_of(convert(value))


def text_of(value: Any) -> str:
    """Return the one text of a JSON value: `true`, not `True`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{text_of(entry)}" for name, entry in value.items()) + "}"
    return "null" if value is None else str(value)


def _itself(value: Any) -> Any:
    return value


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _timestamp(value: datetime) -> str:
    # The driver computes in floating seconds, which in far years miss the millisecond by a little.
    value += _HALF_A_MILLISECOND
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(value: Date) -> str:
    """Return ISO 8601, for years beyond four digits in its expanded form; the driver's own text is then a number."""
    cycles, day = divmod(value.days_from_epoch + _EPOCH, _CYCLE)
    moment = date.fromordinal(day + 1)
    year = moment.year + 400 * cycles
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{moment:%m-%d}"


def _blob(value: bytes) -> str:
    return base64.b64encode(value).decode()


_HALF_A_MILLISECOND = timedelta(microseconds=500)
_EPOCH = date(1970, 1, 1).toordinal() - 1
"""Days from 0001-01-01 to 1970-01-01."""
_CYCLE = 146_097
"""Days in four hundred years, after which the Gregorian calendar repeats itself."""

_PLAIN = frozenset(("text", "ascii", "int", "bigint", "smallint", "tinyint", "boolean", "counter"))
_SCALARS: dict[str, Converter] = {
    "blob": _blob,
    "date": _date,
    "decimal": str,
    "double": _number,
    "duration": str,
    "float": _number,
    "inet": str,
    "time": str,
    "timestamp": _timestamp,
    "timeuuid": str,
    "uuid": str,
    "varint": str,
    "empty": lambda _value: None,
}
