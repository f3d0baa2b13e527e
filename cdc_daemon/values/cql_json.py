"""CQL values as JSON, and text columns that hold JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import orjson

from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError, JsonTextError
from cdc_daemon.values.dates import date_text, timestamp_text
from cdc_daemon.values.integers import integer_text

Converter = Callable[[Any], Any]

NULL = "null"
"""The text of an empty value, which the driver returns as None, in an `_id`."""

Rename = Callable[[str], str]
"""Converts a name in Cassandra to the one in documents."""


def _as_is(name: str) -> str:
    return name


def converter(kind: CqlType, *, rename: Rename = _as_is, scalars: Mapping[str, Converter] = {}) -> Converter | None:
    """Return the converter of a driver's value of this type to a JSON value; None if the value already is one.

    The conversion loses nothing: decimals and varints become texts, because JSON readers convert long
    numbers to floats; blobs base64; timestamps ISO 8601 in UTC with milliseconds; dates and times ISO 8601;
    durations CQL's ISO form. Sets become lists, maps objects with text keys, UDTs objects with their
    fields renamed by `rename`, tuples and vectors lists. A float that is not a number or infinite becomes null:
    Elasticsearch accepts neither. `scalars` are converters that replace these, by the type's name,
    at any depth except in a map's keys.
    """
    if kind.name in scalars:
        return scalars[kind.name]
    if kind.name in _PLAIN:
        return None
    if kind.name in _SCALARS:
        return _SCALARS[kind.name]
    converts = [converter(each, rename=rename, scalars=scalars) for each in kind.parameters]
    if kind.name in {"list", "set", "vector"}:
        return _list_of(converts[0])
    if kind.name == "map":
        return _object_of(key_converter(kind.parameters[0]), converts[1])
    if kind.name == "tuple":
        return _tuple_of(converts)
    if kind.name == "udt":
        return _fields_of([rename(name) for name in kind.field_names], converts)
    return _blob


def _list_of(convert: Converter | None) -> Converter:
    if convert is None:
        return list
    return lambda values: [None if value is None else convert(value) for value in values]


def _object_of(convert_key: Callable[[Any], str], convert: Converter | None) -> Converter:
    if convert is None:
        return lambda entries: {convert_key(name): entry for name, entry in _items(entries)}
    return lambda entries: {
        convert_key(name): None if entry is None else convert(entry) for name, entry in _items(entries)
    }


def _items(entries: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Return the entries of a map.

    The driver's own maps serialise each key to find its value (`OrderedMapSerializedKey`), but hold the pairs too.
    """
    pairs: list[tuple[Any, Any]] | None = getattr(entries, "_items", None)
    return entries.items() if pairs is None else pairs


def _tuple_of(converts: list[Converter | None]) -> Converter:
    return lambda values: [
        value if value is None or convert is None else convert(value)
        for convert, value in zip(converts, values, strict=False)
    ]


def _fields_of(names: list[str], converts: list[Converter | None]) -> Converter:
    fields = list(zip(names, converts, strict=True))
    return lambda values: {
        name: value if value is None or convert is None else convert(value)
        for (name, convert), value in zip(fields, values, strict=False)
    }


def key_converter(kind: CqlType) -> Callable[[Any], str]:
    """Return the converter of a driver's value to its text in an `_id` or as an object's key.

    No two values have the same text: composite values use their JSON, floats that are not finite
    their names. None, which the driver returns for empty bytes, becomes `null`.
    """
    if kind.name in {"text", "ascii"}:
        return str
    convert = converter(kind, scalars={"double": _named_number, "float": _named_number})
    if convert is None:
        return text_of
    if kind.parameters:
        return lambda value: json.dumps(
            None if value is None else convert(value), ensure_ascii=False, separators=(",", ":")
        )
    return lambda value: NULL if value is None else text_of(convert(value))


def json_value(value: Any) -> Any:
    """Return the JSON value of a value from the driver or an expression, chosen by its Python type.

    It agrees with `converter`, which is faster if a column's type is known, except for varints: here they are numbers
    if JSON readers keep each digit, and texts otherwise.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if value in _LONGS else integer_text(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {text_of(json_value(name)): json_value(entry) for name, entry in value.items()}
    if isinstance(value, bytes):
        return _blob(value)
    if isinstance(value, datetime):
        return timestamp_text(value)
    if hasattr(value, "_asdict"):
        return {name: json_value(entry) for name, entry in value._asdict().items()}
    if hasattr(value, "days_from_epoch"):
        return date_text(value)
    if isinstance(value, Iterable):
        return [json_value(each) for each in value]
    return str(value)


def text_of(value: Any) -> str:
    """Return the canonical text of a JSON value: `true`, not `True`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{text_of(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, int):
        return integer_text(value)
    return "null" if value is None else str(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _named_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _blob(value: bytes) -> str:
    return base64.b64encode(value).decode()


_LONGS = range(-(2**63), 2**63)
"""The integers that Elasticsearch accepts and orjson writes."""

_PLAIN = frozenset(("text", "ascii", "int", "bigint", "smallint", "tinyint", "boolean", "counter"))
_SCALARS: dict[str, Converter] = {
    "blob": _blob,
    "date": date_text,
    "decimal": str,
    "double": _number,
    "duration": str,
    "float": _number,
    "inet": str,
    "time": str,
    "timestamp": timestamp_text,
    "timeuuid": str,
    "uuid": str,
    "varint": integer_text,
    "empty": lambda _value: None,
}


class Bad(Enum):
    """The handling of a text that is not valid JSON."""

    NULL = None
    """The value becomes null."""

    TEXT = "text"
    """The text is kept unchanged."""

    EMPTY = "empty"
    """The value becomes that of a blank text."""

    DEAD_LETTER = "dead_letter"
    """The document becomes a dead letter."""


def json_text_converter(column: str, kind: CqlType, *, bad: Bad, empty: Any) -> Converter:
    """Return the converter of a column's value, including null, to the JSON value in its text.

    In a list, set or map of texts each text is parsed; a map's keys stay texts. A blank text becomes `empty`,
    and so does a column without a value. Raises `ConfigError` for a column that holds no texts.
    """
    parse = text_parser(column, bad=bad, empty=empty)
    if kind.name in _TEXTS:
        return lambda value: empty if value is None else parse(value)
    if kind.name in {"list", "set", "map"} and kind.parameters[-1].name in _TEXTS:
        convert = converter(kind, scalars=dict.fromkeys(_TEXTS, parse))
        assert convert is not None
        return lambda value: empty if value is None else convert(value)
    raise ConfigError(
        f"expected a column of text, or of texts in a list, set or map, found {column!r} of type {kind}",
        hint="only texts can hold JSON",
    )


def text_parser(column: str, *, bad: Bad, empty: Any) -> Callable[[str], Any]:
    """Return the parser of one text. It raises `JsonTextError` if an invalid text must become a dead letter."""

    def parse(text: str) -> Any:
        try:
            return orjson.loads(text)
        except ValueError as error:
            if not text or text.isspace():
                return empty
            if bad is Bad.DEAD_LETTER:
                raise JsonTextError(f"expected JSON in column {column!r}, found another text: {error}") from None
            return {Bad.TEXT: text, Bad.EMPTY: empty}.get(bad)

    return parse


def parse_or(text: str, default: Any) -> Any:
    """Return the JSON value of a text, or `default` if the text is not valid JSON."""
    try:
        return orjson.loads(text)
    except ValueError:
        return default


def compact_text(value: Mapping[str, Any] | list[Any] | Any) -> str:
    """Return a JSON value as text without spaces."""
    return orjson.dumps(value).decode()


_TEXTS = ("text", "ascii")
