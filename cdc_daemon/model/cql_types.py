"""CQL types as the schema tables spell them, and their properties that affect the layout of bytes.

Only two properties of a type affect the layout of a mutation: whether its values carry a length (`fixed_length`,
`AbstractType.valueLengthIfFixed`) and whether a column of it holds many cells (`multi_cell`,
`AbstractType.isMultiCell`). The driver decodes the values, see `values`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cdc_daemon.model.errors import CommitLogError

_FIXED_LENGTHS: Final = {
    "bigint": 8,
    "boolean": 1,
    "double": 8,
    "empty": 0,
    "float": 4,
    "int": 4,
    "timestamp": 8,
    "timeuuid": 16,
    "uuid": 16,
}
"""`valueLengthIfFixed` of the native types that override it, equal in 4.0, 4.1 and 5.0.

`smallint`, `tinyint`, `date` and `time` also have values of one size, but carry a length."""

_NATIVE: Final = frozenset(_FIXED_LENGTHS) | {
    "ascii",
    "blob",
    "counter",
    "date",
    "decimal",
    "duration",
    "inet",
    "smallint",
    "text",
    "time",
    "tinyint",
    "varint",
}

_CLASSES: Final = {
    "AsciiType": "ascii",
    "BooleanType": "boolean",
    "ByteType": "tinyint",
    "BytesType": "blob",
    "CounterColumnType": "counter",
    "DateType": "timestamp",
    "DecimalType": "decimal",
    "DoubleType": "double",
    "DurationType": "duration",
    "EmptyType": "empty",
    "FloatType": "float",
    "InetAddressType": "inet",
    "Int32Type": "int",
    "IntegerType": "varint",
    "LexicalUUIDType": "uuid",
    "LongType": "bigint",
    "ShortType": "smallint",
    "SimpleDateType": "date",
    "TimeType": "time",
    "TimeUUIDType": "timeuuid",
    "TimestampType": "timestamp",
    "UTF8Type": "text",
    "UUIDType": "uuid",
}
"""Server classes under `org.apache.cassandra.db.marshal`, for the schema of tables made without CQL."""

_TOKEN: Final = re.compile(r"""\s*(?:([<>,])|"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^\s<>,"']+))""")


@dataclass(frozen=True, slots=True)
class CqlType:
    """One CQL type.

    `name` is a native type's name, `list`, `set`, `map`, `tuple`, `vector`, `udt`, or `custom` for a server
    class that has no CQL name. `parameters` are the element types, or the field types of a UDT, named by
    `field_names`. `dimension` is the dimension of a vector. `frozen` is true for everything stored as one value.
    """

    name: str
    parameters: tuple[CqlType, ...] = ()
    frozen: bool = True
    dimension: int = 0
    keyspace: str = ""
    type_name: str = ""
    field_names: tuple[str, ...] = ()

    @property
    def fixed_length(self) -> int | None:
        """Return the bytes of every non-empty value, or None if a value is preceded by its length."""
        if self.name == "vector":
            element = self.parameters[0].fixed_length
            return None if element is None else element * self.dimension
        return _FIXED_LENGTHS.get(self.name)

    @property
    def multi_cell(self) -> bool:
        """Return whether a column of this type holds one cell for each element or field."""
        return not self.frozen and self.name in {"list", "set", "map", "udt"}

    def __str__(self) -> str:
        if self.name == "udt":
            text = self.type_name
        elif self.name == "custom":
            return f"'{self.type_name}'"
        elif self.name == "vector":
            return f"vector<{self.parameters[0]}, {self.dimension}>"
        elif self.parameters:
            text = f"{self.name}<{', '.join(map(str, self.parameters))}>"
        else:
            return self.name
        return f"frozen<{text}>" if self.frozen else text


def parse_type(text: str, *, keyspace: str = "", user_types: Mapping[str, CqlType] | None = None) -> CqlType:
    """Parse a type as `system_schema` spells it: `frozen<map<text, int>>`, `vector<float, 3>`, `"My Type"`.

    `user_types` are the keyspace's UDTs by their exact name. Raises `CommitLogError` for a spelling that
    Cassandra 4.0 to 5.0 does not use.
    """
    parser = _Parser(text, keyspace, user_types or {})
    try:
        parsed = parser.one()
    except RecursionError as error:
        raise parser.bad("it is nested too deep") from error
    parser.expect("")
    return parsed


def freeze(cql_type: CqlType) -> CqlType:
    """Return the type frozen at every level, as inside a frozen value or a collection."""
    return replace(cql_type, frozen=True, parameters=tuple(freeze(each) for each in cql_type.parameters))


class _Parser:
    """Recursive descent over one spelling; `self.current` is the next token."""

    def __init__(self, text: str, keyspace: str, user_types: Mapping[str, CqlType]) -> None:
        self.text = text
        self.keyspace = keyspace
        self.user_types = user_types
        self.tokens = self._tokens()
        self.kind, self.current = next(self.tokens)

    def bad(self, reason: str) -> CommitLogError:
        return CommitLogError(f"expected a CQL type, found {self.text!r}: {reason}")

    def _tokens(self) -> Iterator[tuple[str, str]]:
        position = 0
        text = self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.bad(f"cannot be read from character {position} on")
            mark, quoted, custom, word = match.groups()
            position = match.end()
            if mark is not None:
                yield "mark", mark
            elif quoted is not None:
                yield "quoted", quoted.replace('""', '"')
            elif custom is not None:
                yield "custom", custom.replace("''", "'")
            else:
                yield "word", word
        while True:
            yield "mark", ""

    def take(self) -> tuple[str, str]:
        token = self.kind, self.current
        self.kind, self.current = next(self.tokens)
        return token

    def expect(self, mark: str) -> None:
        kind, found = self.take()
        if kind != "mark" or found != mark:
            raise self.bad(f"expected {mark or 'its end'!r}, found {found or 'its end'!r}")

    def one(self) -> CqlType:
        kind, name = self.take()
        if kind == "custom":
            return self.custom(name)
        if kind == "mark":
            raise self.bad(f"expected a type, found {name or 'its end'!r}")
        if kind == "word":
            lower = name.lower()
            if self.kind == "mark" and self.current == "<":
                return self.parametrised(lower)
            if lower in _NATIVE:
                return CqlType(lower)
            if lower == "varchar":
                return CqlType("text")
            if lower in self.user_types:
                name = lower
        if name in self.user_types:
            return replace(self.user_types[name], frozen=False)
        raise self.bad(f"keyspace {self.keyspace!r} has no type {name!r}")

    def parametrised(self, name: str) -> CqlType:
        self.expect("<")
        parameters = [self.one()]
        dimension = 0
        if name == "vector":
            self.expect(",")
            _, digits = self.take()
            if not (digits.isascii() and digits.isdigit()):
                raise self.bad(f"expected a vector's dimension, found {digits!r}")
            dimension = int(digits)
        while self.kind == "mark" and self.current == ",":
            self.take()
            parameters.append(self.one())
        self.expect(">")
        if len(parameters) != {"map": 2, "tuple": len(parameters)}.get(name, 1):
            raise self.bad(f"{name} with {len(parameters)} parameters")
        if name == "frozen":
            return freeze(parameters[0])
        frozen_parameters = tuple(freeze(each) for each in parameters)
        if name in {"list", "set", "map"}:
            return CqlType(name, frozen_parameters, frozen=False)
        if name in {"tuple", "vector"}:
            return CqlType(name, frozen_parameters, dimension=dimension)
        raise self.bad(f"no such type as {name}<>")

    def custom(self, name: str) -> CqlType:
        """Return the type of a server class in quotes; if it has parameters, values carry their length."""
        native = _CLASSES.get(name.removeprefix("org.apache.cassandra.db.marshal."))
        return CqlType(native) if native else CqlType("custom", type_name=name)
