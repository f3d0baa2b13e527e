"""A random schema and random writes to it, the same for the same seed: cases that no one thought of."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from uuid import UUID

from cassandra import InvalidRequest
from cassandra.cluster import Session

KEYSPACE: Final = "probe"
_TABLES: Final = 6
_STATEMENTS: Final = 400
_TIME: Final = 1_795_461_440_000_000
"""Microseconds since the epoch, around which stated write times lie."""
_SIMPLE: Final = (
    *("ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "float", "inet", "int", "smallint"),
    *("text", "time", "timestamp", "timeuuid", "tinyint", "uuid", "varint"),
)
_FIELDS: Final = {"a": "int", "b": "text", "c": "frozen<list<bigint>>"}
"""The user type `probe.part`."""


@dataclass
class _Table:
    name: str
    key: dict[str, str] = field(default_factory=dict)
    clustering: dict[str, str] = field(default_factory=dict)
    statics: dict[str, str] = field(default_factory=dict)
    regular: dict[str, str] = field(default_factory=dict)
    descending: tuple[str, ...] = ()

    def statement(self) -> str:
        """Return what creates the table."""
        columns = [f"{name} {kind}" for name, kind in (*self.key.items(), *self.clustering.items())]
        columns += [f"{name} {kind} static" for name, kind in self.statics.items()]
        columns += [f"{name} {kind}" for name, kind in self.regular.items()]
        key = ", ".join((f"({', '.join(self.key)})", *self.clustering))
        order = ", ".join(f"{name} {'DESC' if name in self.descending else 'ASC'}" for name in self.clustering)
        ordered = f" AND CLUSTERING ORDER BY ({order})" if order else ""
        return (
            f"CREATE TABLE {KEYSPACE}.{self.name} ({', '.join(columns)}, PRIMARY KEY ({key})) WITH cdc = true{ordered}"
        )


class RandomWorkload:
    """Some tables and some hundred writes. `vectors` says whether the server knows vectors."""

    def __init__(self, seed: int, *, vectors: bool) -> None:
        self._random = random.Random(seed)
        self._vectors = vectors
        self._tables = [self._table(number) for number in range(_TABLES)]

    def run(self, session: Session) -> tuple[int, int]:
        """Make the schema, then write; return how many writes Cassandra took, and how many it refused."""
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        fields = ", ".join(f"{name} {kind}" for name, kind in _FIELDS.items())
        session.execute(f"CREATE TYPE {KEYSPACE}.part ({fields})")
        for table in self._tables:
            session.execute(table.statement())
        done = refused = 0
        for statement in self._statements():
            try:
                session.execute(statement)
                done += 1
            except InvalidRequest:
                refused += 1
        return done, refused

    def _table(self, number: int) -> _Table:
        chance = self._random
        table = _Table(f"t{number}")
        table.key = {f"k{at}": self._simple() for at in range(chance.choice((1, 1, 2, 3)))}
        table.clustering = {f"c{at}": self._simple() for at in range(chance.choice((0, 1, 2, 3, 34)))}
        table.descending = tuple(name for name in table.clustering if chance.random() < 0.4)
        if table.clustering:
            table.statics = {f"s{at}": self._type() for at in range(chance.choice((0, 1, 3)))}
        table.regular = {f"r{at}": self._type() for at in range(chance.choice((0, 1, 5, 12, 70)))}
        return table

    def _simple(self) -> str:
        return self._random.choice(_SIMPLE)

    def _type(self) -> str:
        if self._random.random() < 0.5:
            return self._random.choice((*_SIMPLE, "duration"))
        kind = self._collection(2)
        return kind if self._random.random() < 0.6 or kind.startswith(("frozen", "vector")) else f"frozen<{kind}>"

    def _collection(self, depth: int) -> str:
        def inner() -> str:
            if depth == 0 or self._random.random() < 0.6:
                return self._simple()
            kind = self._collection(depth - 1)
            return kind if kind.startswith(("frozen", "vector")) else f"frozen<{kind}>"

        kinds = ["list", "set", "map", "tuple", "part"] + ["vector"] * self._vectors
        kind = self._random.choice(kinds)
        if kind == "part":
            return f"{KEYSPACE}.part"
        if kind == "map":
            return f"map<{self._simple()}, {inner()}>"
        if kind == "tuple":
            return f"frozen<tuple<{inner()}, {inner()}>>"
        if kind == "vector":
            return f"vector<{inner()}, {self._random.randint(1, 4)}>"
        return f"{kind}<{inner()}>"

    def _literal(self, kind: str) -> str:
        chance = self._random
        if kind.startswith("frozen<"):
            return self._literal(kind[7:-1])
        name, _, rest = kind.partition("<")
        parameters = _split(rest[:-1]) if rest else []
        if name == f"{KEYSPACE}.part":
            some = [each for each in _FIELDS if chance.random() < 0.8] or ["a"]
            return "{" + ", ".join(f"{each}: {self._literal(_FIELDS[each])}" for each in some) + "}"
        if name in {"list", "set"}:
            items = [self._literal(parameters[0]) for _ in range(chance.choice((0, 1, 2, 5)))]
            return ("[%s]" if name == "list" else "{%s}") % ", ".join(items)
        if name == "map":
            pairs = [
                f"{self._literal(parameters[0])}: {self._literal(parameters[1])}" for _ in range(chance.choice((1, 3)))
            ]
            return "{" + ", ".join(pairs) + "}"
        if name == "tuple":
            return f"({', '.join(self._literal(each) for each in parameters)})"
        if name == "vector":
            return f"[{', '.join(self._literal(parameters[0]) for _ in range(int(parameters[1])))}]"
        return self._simple_literal(name)

    def _simple_literal(self, name: str) -> str:
        chance = self._random
        bits = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64, "varint": chance.choice((8, 64, 200))}
        if name in bits:
            return str(
                chance.randrange(-(1 << bits[name] - 1), 1 << bits[name] - 1) >> chance.choice((0, bits[name] // 2))
            )
        word = "".join(chance.choice("abcxyz '") for _ in range(chance.choice((0, 1, 7, 200)))).replace("'", "''")
        made = {
            "ascii": f"'{word}'",
            "text": f"'{word}{chance.choice(('', 'ä', '語'))}'",
            "blob": "0x" + chance.randbytes(chance.choice((0, 1, 127, 128, 300))).hex(),
            "boolean": chance.choice(("true", "false")),
            "date": f"'{chance.randint(1900, 2100)}-02-{chance.randint(1, 28):02}'",
            "decimal": f"{chance.randrange(-(10**20), 10**20)}.{chance.randrange(1000)}",
            "double": repr(chance.uniform(-1e9, 1e9)),
            "float": repr(chance.uniform(-1e3, 1e3)),
            "duration": f"{chance.randrange(99)}mo{chance.randrange(99)}d{chance.randrange(10**12)}ns",
            "inet": f"'{ip_address(chance.getrandbits(chance.choice((32, 128))))}'",
            "time": f"'{chance.randrange(24):02}:00:00.{chance.randrange(10**9):09}'",
            "timestamp": str(chance.randrange(-(10**12), 4 * 10**12)),
            "uuid": str(UUID(int=chance.getrandbits(128), version=4)),
            "timeuuid": str(UUID(int=chance.getrandbits(128), version=1)),
        }
        return made[name]

    def _statements(self) -> Iterator[str]:
        for _ in range(_STATEMENTS):
            if self._random.random() < 0.85:
                yield self._write(self._random.choice(self._tables))
                continue
            kind = self._random.choice(("", "UNLOGGED "))
            writes = "; ".join(
                self._write(self._random.choice(self._tables)) for _ in range(self._random.randint(2, 5))
            )
            yield f"BEGIN {kind}BATCH {writes}; APPLY BATCH"

    def _write(self, table: _Table) -> str:
        kind = self._random.choice(("insert", "insert", "insert", "update", "update", "delete", "delete"))
        return {"insert": self._insert, "update": self._update, "delete": self._delete}[kind](table)

    def _using(self, *, expiring: bool = True) -> str:
        chance = self._random
        said = []
        if expiring and chance.random() < 0.3:
            said.append(f"TTL {chance.choice((1, 100, 86400, 10**7))}")
        if chance.random() < 0.3:
            said.append(f"TIMESTAMP {_TIME + chance.randrange(-(10**9), 10**9)}")
        return f" USING {' AND '.join(said)}" if said else ""

    def _value(self, kind: str) -> str:
        return "null" if self._random.random() < 0.15 else self._literal(kind)

    def _insert(self, table: _Table) -> str:
        values = {name: self._literal(kind) for name, kind in (*table.key.items(), *table.clustering.items())}
        for name, kind in (*table.statics.items(), *table.regular.items()):
            if self._random.random() < 0.6:
                values[name] = self._value(kind)
        columns, literals = ", ".join(values), ", ".join(values.values())
        return f"INSERT INTO {KEYSPACE}.{table.name} ({columns}) VALUES ({literals}){self._using()}"

    def _update(self, table: _Table) -> str:
        columns = table.statics if table.statics and self._random.random() < 0.3 else table.regular
        if not columns:
            return self._insert(table)
        chosen = self._random.sample(sorted(columns), min(len(columns), self._random.randint(1, 4)))
        sets = []
        for name in chosen:
            kind = columns[name]
            added = self._random.random() < 0.5 and kind.startswith(("list<", "set<", "map<"))
            sets.append(f"{name} = {name} + {self._literal(kind)}" if added else f"{name} = {self._value(kind)}")
        where = self._where(table, len(table.clustering) if columns is table.regular else 0)
        return f"UPDATE {KEYSPACE}.{table.name}{self._using()} SET {', '.join(sets)} WHERE {where}"

    def _delete(self, table: _Table) -> str:
        chance = self._random
        using = self._using(expiring=False)
        whole = len(table.clustering)
        if table.regular and chance.random() < 0.4:
            some = ", ".join(chance.sample(sorted(table.regular), min(len(table.regular), 3)))
            return f"DELETE {some} FROM {KEYSPACE}.{table.name}{using} WHERE {self._where(table, whole)}"
        depth = chance.randint(0, whole)
        where = self._where(table, depth)
        if depth < whole and chance.random() < 0.7:
            name, kind = list(table.clustering.items())[depth]
            where += f" AND {name} {chance.choice(('>', '>=', '<', '<='))} {self._literal(kind)}"
        return f"DELETE FROM {KEYSPACE}.{table.name}{using} WHERE {where}"

    def _where(self, table: _Table, depth: int) -> str:
        named = [*table.key.items(), *list(table.clustering.items())[:depth]]
        return " AND ".join(f"{name} = {self._literal(kind)}" for name, kind in named)


def _split(text: str) -> list[str]:
    """Split a type's parameters at the commas that are not within others."""
    parts, depth = [""], 0
    for character in text:
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
