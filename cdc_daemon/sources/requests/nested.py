"""Encode frozen collections, tuples, user types and vectors of a key, from JSON to the bytes Cassandra stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from cassandra.marshal import uvint_pack

from cdc_daemon.cassandra.plan import encode_list, encode_tuple
from cdc_daemon.model.cql_types import CqlType

Encoder = Callable[[Any], bytes]
"""Turns a JSON value into serialised bytes. Raises ValueError, whose text says what was expected."""

NESTED: Final = frozenset(("list", "set", "vector", "map", "tuple", "udt"))
"""Types with element types."""


def nested_encoder(kind: CqlType, encoder: Callable[[CqlType], Encoder]) -> Encoder:
    """Return the encoder of a type with element types; `encoder` returns the encoders of those.

    It takes the JSON of a document's `_id`, either as a text or already parsed.
    """
    encode = _structure(kind, [encoder(each) for each in kind.parameters])
    expected = f"a value of type {kind} as JSON"

    def read(value: Any) -> bytes:
        try:
            return encode(orjson.loads(value) if isinstance(value, str) else value)
        except (TypeError, AttributeError, orjson.JSONDecodeError):
            raise ValueError(expected) from None

    return read


def _structure(kind: CqlType, encoders: Sequence[Encoder]) -> Encoder:
    match kind.name:
        case "list" | "set":
            return lambda value: encode_list([_element(encoders[0], each) for each in _array(value)])
        case "map":
            name, entry = encoders

            def encode_map(value: Any) -> bytes:
                parts = [part for key, each in value.items() for part in (name(key), _element(entry, each))]
                return len(value).to_bytes(4, "big") + encode_tuple(parts)

            return encode_map
        case "vector":
            return lambda value: _vector(kind, [_element(encoders[0], each) for each in _array(value)])
        case "tuple":
            return lambda value: encode_tuple(_fields(encoders, _array(value)))
        case _:
            names = kind.field_names
            return lambda value: encode_tuple(_fields(encoders, [value.get(name) for name in names]))


def _vector(kind: CqlType, elements: Sequence[bytes]) -> bytes:
    if len(elements) != kind.dimension:
        raise ValueError(f"{kind.dimension} elements of a vector")
    if kind.parameters[0].fixed_length is not None:
        return b"".join(elements)
    return b"".join(bytes(uvint_pack(len(each))) + each for each in elements)


def _fields(encoders: Sequence[Encoder], values: Sequence[Any]) -> list[bytes | None]:
    if len(values) > len(encoders):
        raise ValueError(f"at most {len(encoders)} elements of a tuple")
    return [None if value is None else encode(value) for encode, value in zip(encoders, values, strict=False)]


def _element(encode: Encoder, value: Any) -> bytes:
    """Serialise an element, which is never null: JSON's null means empty bytes, as the driver reads them as null."""
    return b"" if value is None else encode(value)


def _array(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value
