"""Encodes values of key columns: from the text or JSON of a request to the bytes that Cassandra stores.

The text form is that of a document's `_id` (`cdc_daemon.values.cql_json.key_converter`), so that an id can be
copied from the index into a request. Numbers and booleans may also be JSON numbers and booleans.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import orjson
from cassandra import cqltypes
from cassandra.marshal import uvint_pack
from cassandra.util import Time

from cdc_daemon.cassandra.read_plan import encode_list, encode_tuple
from cdc_daemon.commitlog.values import PROTOCOL_VERSION
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.values.cql_json import NULL
from cdc_daemon.values.dates import days_of
from cdc_daemon.values.integers import parse_integer

Encoder = Callable[[Any], bytes]
"""Encodes a JSON value as Cassandra's bytes. Raises `ValueError` with a description of the expected values."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?")
_DATE: Final = re.compile(r"([0-9]{4}|[+-][0-9]{4,7})-([0-9]{2})-([0-9]{2})")
_LONGEST_DECIMAL: Final = 4400
"""Maximum characters of a decimal that the driver decodes, and of its exponent."""
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")
"""Non-finite floats, as a document's `_id` shows them."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAY_ZERO: Final = 2**31
"""How Cassandra stores 1970-01-01 (`SimpleDateSerializer`)."""


_NESTED: Final = frozenset(("list", "set", "vector", "map", "tuple", "udt"))
"""Types with element types."""


def encoder(kind: CqlType) -> Encoder:
    """Return the encoder for key columns of this type."""
    if kind.name in _NESTED:
        return _nested_encoder(kind)
    encode = _ENCODERS.get(kind.name) or _unsupported(kind)
    return _or_empty(encode) if kind.name in _MAY_BE_EMPTY else encode


def _or_empty(encode: Encoder) -> Encoder:
    """Return an encoder that also accepts the text for empty bytes in an `_id`."""
    return lambda value: b"" if value == NULL else encode(value)


def _unsupported(kind: CqlType) -> Encoder:
    def refuse(_value: Any) -> bytes:
        raise ValueError(f"a key without a column of type {kind}: such a value cannot be written in an id")

    return refuse


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
    raise ValueError("a text")


def _ascii(value: Any) -> bytes:
    if isinstance(value, str) and value.isascii():
        return value.encode()
    raise ValueError("an ASCII text")


def _uuid(value: Any) -> bytes:
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value).bytes
    raise ValueError("a UUID such as 2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd")


def _timeuuid(value: Any) -> bytes:
    if isinstance(value, str) and _UUID.fullmatch(value) and UUID(value).version == 1:
        return UUID(value).bytes
    raise ValueError("a UUID of version 1")


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return parse_integer(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _integer(form: str) -> Encoder:
    packer = struct.Struct(form)
    bound = 1 << (8 * packer.size - 1)

    def encode(value: Any) -> bytes:
        number = _whole(value)
        if number is None or not -bound <= number < bound:
            raise ValueError(f"a whole number of {-bound} to {bound - 1}")
        return packer.pack(number)

    return encode


def _varint(value: Any) -> bytes:
    number = _whole(value)
    if number is None:
        raise ValueError("a whole number")
    return bytes(cqltypes.IntegerType.serialize(number, PROTOCOL_VERSION))


def _decimal(value: Any) -> bytes:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            text = value if isinstance(value, str) else repr(value)
            number = Decimal(text if len(text) <= _LONGEST_DECIMAL else "")
            if number.is_finite() and -(2**31) <= -int(number.as_tuple().exponent) < 2**31:
                return bytes(cqltypes.DecimalType.serialize(number, PROTOCOL_VERSION))
        except (InvalidOperation, ValueError):
            pass
    raise ValueError("a decimal number")


def _boolean(value: Any) -> bytes:
    if value is True or value == "true":
        return b"\1"
    if value is False or value == "false":
        return b"\0"
    raise ValueError("true or false")


def _number(form: str) -> Encoder:
    packer = struct.Struct(form)

    def encode(value: Any) -> bytes:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                number = float(value)
                if math.isfinite(number) or value in _NO_NUMBERS:
                    return packer.pack(number)
            except (ValueError, OverflowError):
                pass
        raise ValueError("a number")

    return encode


def _timestamp(value: Any) -> bytes:
    milliseconds: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        milliseconds = value
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            if not zoned.microsecond % 1000:
                milliseconds = (zoned - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            pass
    if milliseconds is None or not -(2**63) <= milliseconds < 2**63:
        raise ValueError("a moment such as 2024-05-17T09:30:00.000Z, or milliseconds since 1970")
    return struct.pack(">q", milliseconds)


def _date(value: Any) -> bytes:
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        try:
            return struct.pack(">I", days_of(*map(int, match.groups())) + _DAY_ZERO)
        except (ValueError, struct.error):
            pass
    raise ValueError("a date such as 2024-05-17")


def _time(value: Any) -> bytes:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return struct.pack(">q", Time(value).nanosecond_time)
        except ValueError:
            pass
    raise ValueError("a time such as 09:30:00.000000000")


def _inet(value: Any) -> bytes:
    if isinstance(value, str) and "%" not in value:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            pass
        else:
            # As Java's InetAddress does: an IPv4-mapped address becomes the IPv4 address.
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            return (mapped or address).packed
    raise ValueError("an IP address")


def _blob(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise ValueError("bytes in base64")


_MAY_BE_EMPTY: Final = frozenset(
    ("bigint", "boolean", "decimal", "double", "float", "inet", "int", "timestamp", "timeuuid", "uuid", "varint")
)
"""Types for which Cassandra stores empty bytes, which the driver reads as null (their serialisers' `validate`)."""

_ENCODERS: Final[dict[str, Encoder]] = {
    "ascii": _ascii,
    "bigint": _integer(">q"),
    "blob": _blob,
    "boolean": _boolean,
    "date": _date,
    "decimal": _decimal,
    "double": _number(">d"),
    "float": _number(">f"),
    "inet": _inet,
    "int": _integer(">i"),
    "smallint": _integer(">h"),
    "text": _text,
    "time": _time,
    "timestamp": _timestamp,
    "timeuuid": _timeuuid,
    "tinyint": _integer(">b"),
    "uuid": _uuid,
    "varint": _varint,
}


def _nested_encoder(kind: CqlType) -> Encoder:
    """Return the encoder of a type with element types.

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
