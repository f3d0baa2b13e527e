"""Converts raw values to Python values with the driver's types; only the framing is parsed here."""

from __future__ import annotations

import functools
import struct
from typing import Any, Final, NamedTuple
from uuid import UUID

from cassandra import cqltypes

from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import MutationError

PROTOCOL_VERSION: Final = 4
"""Native protocol version with the stored format of collections: lengths of four bytes."""

_NATIVE: Final = {
    "ascii": cqltypes.AsciiType,
    "bigint": cqltypes.LongType,
    "blob": cqltypes.BytesType,
    "boolean": cqltypes.BooleanType,
    "custom": cqltypes.BytesType,
    "date": cqltypes.SimpleDateType,
    "decimal": cqltypes.DecimalType,
    "double": cqltypes.DoubleType,
    "duration": cqltypes.DurationType,
    "empty": cqltypes.BytesType,
    "float": cqltypes.FloatType,
    "inet": cqltypes.InetAddressType,
    "int": cqltypes.Int32Type,
    "smallint": cqltypes.ShortType,
    "text": cqltypes.UTF8Type,
    "time": cqltypes.TimeType,
    "timestamp": cqltypes.DateType,
    "timeuuid": cqltypes.TimeUUIDType,
    "tinyint": cqltypes.ByteType,
    "uuid": cqltypes.UUIDType,
    "varint": cqltypes.IntegerType,
}


class CounterShard(NamedTuple):
    """One node's share of a counter, whose value is the sum of its shards' values.

    `kind` is `global`, `local` or `remote` (`CounterContext`); Cassandra 2.1 and later write only global ones.
    """

    kind: str
    node: UUID
    clock: int
    value: int


def decode_value(cql_type: CqlType, value: bytes | None) -> Any:
    """Return the Python value of a simple column's raw value, as the driver would in a row; None for None.

    For a counter, returns the sum of its shards. Raises `MutationError` when the bytes are no value of the type.
    """
    if value is None:
        return None
    if cql_type.name == "counter":
        return sum(shard.value for shard in counter_shards(value))
    return _decode(cql_type, value)


def decode_path(cql_type: CqlType, path: bytes) -> Any:
    """Return the Python value of a cell's path in a complex column of this type.

    That is a set's element, a map's key, a UDT's field name, or, in a list, the time UUID that orders its elements.
    Raises `MutationError` when the bytes are no path of the type.
    """
    if cql_type.name in {"set", "map"}:
        return _decode(cql_type.parameters[0], path)
    if cql_type.name == "udt":
        return cql_type.field_names[_field(cql_type, path)]
    return _decode(CqlType("timeuuid"), path)


def decode_element(cql_type: CqlType, path: bytes, value: bytes | None) -> Any:
    """Return the Python value of one cell of a complex column: an element, a map's value, a field's value.

    Returns None for a set's cell, which has only a path. Raises `MutationError` when the bytes are no such value.
    """
    if value is None or cql_type.name == "set":
        return None
    if cql_type.name == "udt":
        return _decode(cql_type.parameters[_field(cql_type, path)], value)
    return _decode(cql_type.parameters[-1], value)


def counter_shards(context: bytes) -> tuple[CounterShard, ...]:
    """Return the shards of a counter cell's value (`CounterContext`, Cassandra 4.0 to 5.0).

    Layout: count of indices, short | that many shorts, each the index of a shard that is local, or, plus -32768,
    global | shards: node id 16, clock long, value long. Raises `MutationError` when the bytes are no context.
    """
    try:
        (count,) = _SHORT.unpack_from(context)
        indices = struct.unpack_from(f">{abs(count)}h", context, _SHORT.size)
    except struct.error as error:
        raise MutationError(f"expected a counter's context, found {context.hex()}") from error
    kinds = {index + 0x8000 if index < 0 else index: "global" if index < 0 else "local" for index in indices}
    start = _SHORT.size * (1 + len(indices))
    if (len(context) - start) % _SHARD.size:
        raise MutationError(f"expected shards of {_SHARD.size} bytes, found {len(context) - start}")
    return tuple(
        CounterShard(kinds.get(index, "remote"), UUID(bytes=node), clock, value)
        for index, (node, clock, value) in enumerate(_SHARD.iter_unpack(context[start:]))
    )


_SHORT: Final = struct.Struct(">h")
_SHARD: Final = struct.Struct(">16sqq")


def _field(cql_type: CqlType, path: bytes) -> int:
    index = int.from_bytes(path, "big")
    if len(path) != _SHORT.size or index >= len(cql_type.parameters):
        raise MutationError(f"expected a field of type {cql_type}, found path {path.hex()}")
    return index


def _decode(cql_type: CqlType, value: bytes) -> Any:
    try:
        return driver_type(cql_type).from_binary(value, PROTOCOL_VERSION)
    except Exception as error:  # the driver's types may raise any exception for invalid bytes
        raise MutationError(
            f"expected a value of type {cql_type}, found {len(value)} other bytes", data=value
        ) from error


@functools.lru_cache(maxsize=4096)
def driver_type(cql_type: CqlType) -> Any:
    """Return the driver's class for a type."""
    native = _NATIVE.get(cql_type.name)
    if native is not None:
        return native
    parameters = [driver_type(each) for each in cql_type.parameters]
    if cql_type.name == "udt":
        return cqltypes.UserType.make_udt_class(
            cql_type.keyspace, cql_type.type_name, list(cql_type.field_names), parameters
        )
    if cql_type.name == "vector":
        return cqltypes.VectorType.apply_parameters([parameters[0], cql_type.dimension], None)
    collection = {
        "list": cqltypes.ListType,
        "set": cqltypes.SetType,
        "map": cqltypes.MapType,
        "tuple": cqltypes.TupleType,
    }[cql_type.name]
    return collection.apply_parameters(parameters)
