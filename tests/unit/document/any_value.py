"""Hypothesis strategies: any CQL type, and any bytes that Cassandra can have stored as a value of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cassandra.cqltypes import IntegerType
from cassandra.marshal import uvint_pack, vints_pack
from hypothesis import strategies as st

from cdc_daemon.model.cql_types import CqlType

LONG_NUMBER = -(7**6000)
"""More than Python's 4,300 digits."""

SCALARS = (
    *("ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "duration", "float", "inet", "int"),
    *("smallint", "text", "time", "timestamp", "timeuuid", "tinyint", "uuid", "varint"),
)

KEY_SCALARS = tuple(name for name in SCALARS if name != "duration")
"""Cassandra refuses durations in a key."""

EMPTY_TAKEN = frozenset(SCALARS) - {"date", "duration", "smallint", "time", "tinyint"}
"""Types of which Cassandra stores empty bytes (their serialisers' `validate`, 4.0 to 5.0)."""


def varint(value: int) -> bytes:
    return bytes(IntegerType.serialize(value, 4))


def _duration(months: int, days: int, nanoseconds: int) -> bytes:
    return bytes(vints_pack([months, days, nanoseconds]))


_NUMBERS = st.integers() | st.sampled_from([LONG_NUMBER, 10**4299, 10**4300, 2**63, -(2**63) - 1, 10**40])
_EXPONENTS = st.sampled_from([0, 2, -2, 2**31 - 1, -(2**31), 6144, -6143, 400])
_TEXTS = st.text(max_size=20) | st.sampled_from(["\0", "a\0b", "null", "a:b\\", "x" * 5000, "\u202e\u2066"])

_VALUES: dict[str, st.SearchStrategy[bytes]] = {
    "ascii": st.binary(max_size=20).map(lambda data: bytes(byte & 0x7F for byte in data)),
    "bigint": st.binary(min_size=8, max_size=8),
    "blob": st.binary(max_size=40),
    "boolean": st.sampled_from([b"\0", b"\1", b"\2"]),
    "date": st.binary(min_size=4, max_size=4),
    "decimal": st.builds(
        lambda scale, number: struct.pack(">i", scale) + varint(number), _EXPONENTS | st.integers(-9, 9), _NUMBERS
    ),
    "double": st.floats().map(lambda value: struct.pack(">d", value)),
    "duration": st.builds(_duration, st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
    | st.just(_duration(-(2**31), -(2**31), -(2**63))),
    "float": st.floats(width=32).map(lambda value: struct.pack(">f", value)),
    "inet": st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    "int": st.binary(min_size=4, max_size=4),
    "smallint": st.binary(min_size=2, max_size=2),
    "text": _TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.just(b"\xed\xa0\x80"),
    "time": st.integers(0, 86_400_000_000_000 - 1).map(lambda value: struct.pack(">q", value)),
    "timestamp": st.binary(min_size=8, max_size=8) | st.integers(0, 2**42).map(lambda value: struct.pack(">q", value)),
    "timeuuid": st.uuids(version=1).map(lambda value: value.bytes),
    "tinyint": st.binary(min_size=1, max_size=1),
    "uuid": st.binary(min_size=16, max_size=16),
    "varint": _NUMBERS.map(varint),
}


def types(names: tuple[str, ...] = SCALARS) -> st.SearchStrategy[CqlType]:
    """Any type, frozen."""
    return st.recursive(
        st.sampled_from(names).map(CqlType),
        lambda inner: st.one_of(
            st.builds(lambda name, one: CqlType(name, (one,)), st.sampled_from(["list", "set"]), inner),
            st.builds(lambda one, other: CqlType("map", (one, other)), inner, inner),
            st.lists(inner, min_size=1, max_size=3).map(lambda several: CqlType("tuple", tuple(several))),
            st.lists(inner, min_size=1, max_size=3).map(_user_type),
            st.builds(lambda one, size: CqlType("vector", (one,), dimension=size), inner, st.integers(1, 3)),
        ),
        max_leaves=4,
    )


def _user_type(fields: list[CqlType]) -> CqlType:
    names = ("street", "class", "zip_code")[: len(fields)]
    return CqlType("udt", tuple(fields), keyspace="k", type_name="address", field_names=names)


@st.composite
def values(draw: st.DrawFn, of: CqlType, *, empty: bool = True) -> bytes:
    """Any bytes of a type; with `empty` also none, where Cassandra stores such."""
    if of.name in _VALUES:
        if empty and of.name in EMPTY_TAKEN and draw(st.integers(0, 9)) == 0:
            return b""
        return draw(_VALUES[of.name])
    if of.name in {"list", "set"}:
        elements = draw(st.lists(values(of.parameters[0]), max_size=3))
        return len(elements).to_bytes(4, "big") + framed(elements)
    if of.name == "map":
        keys = draw(st.lists(values(of.parameters[0]), max_size=3))
        entries = [part for key in keys for part in (key, draw(values(of.parameters[1])))]
        return len(keys).to_bytes(4, "big") + framed(entries)
    if of.name == "vector":
        elements = [draw(values(of.parameters[0], empty=False)) for _ in range(of.dimension)]
        if of.parameters[0].fixed_length is not None:
            return b"".join(elements)
        return b"".join(bytes(uvint_pack(len(each))) + each for each in elements)
    return framed([draw(st.none() | values(each)) for each in of.parameters])


def framed(parts: Iterable[bytes | None]) -> bytes:
    """Frame elements as collections, tuples and user types do: four bytes of length, -1 for null."""
    return b"".join(b"\xff" * 4 if part is None else len(part).to_bytes(4, "big") + part for part in parts)
