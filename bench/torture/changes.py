"""Random changes: one statement at a time, of every kind, for tables of every shape."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from bench.torture.shapes import KEYSPACE, REFERRED, Shape
from bench.torture.values import ALL

Statement = tuple[str, Sequence[Any]]

DAY = 86_400_000_000
"""In microseconds, as client timestamps are."""

MOST_TTL = 8
"""Seconds within which a row that is written to expire is gone."""


class Changes:
    """Makes random changes of tables. `now` returns microseconds since epoch, for timestamps of clients."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes

    def make(self, chance: random.Random, now: int) -> Statement:
        """Return a statement and its values."""
        shape = chance.choice(self._shapes)
        kind = chance.choices(
            (self._insert, self._update, self._delete, self._delete_many, self._transact, self._batch, self._static),
            (40, 20, 10, 5, 5, 8, 4),
        )[0]
        statement, values = kind(shape, chance, now)
        return statement.replace("{ks}", KEYSPACE), values

    def _insert(self, shape: Shape, chance: random.Random, now: int) -> Statement:
        using = self._using(shape, chance, now)
        unset = " DEFAULT UNSET" if chance.random() < 0.5 else ""
        return f"INSERT INTO {{ks}}.{shape.name} JSON %s{unset}{using}", [_json(self._row(shape, chance))]

    def _update(self, shape: Shape, chance: random.Random, now: int) -> Statement:
        where, key = self._where(shape, chance)
        column, kind = chance.choice(list(shape.values.items()))
        using = self._using(shape, chance, now)
        if kind == "set<text>":
            sign = chance.choice("+-")
            return f"UPDATE {{ks}}.{shape.name}{using} SET {column} = {column} {sign} {{'a', 'b'}} WHERE {where}", key
        if kind == "list<int>":
            return f"UPDATE {{ks}}.{shape.name}{using} SET {column} = {column} + [7] WHERE {where}", key
        if kind.startswith("map<text, "):
            return f"UPDATE {{ks}}.{shape.name}{using} SET {column} = null WHERE {where}", key
        value = "null" if chance.random() < 0.2 else "fromJson(%s)"
        values = [] if value == "null" else [_json(_value(shape, column, kind, chance))]
        return f"UPDATE {{ks}}.{shape.name}{using} SET {column} = {value} WHERE {where}", [*values, *key]

    def _delete(self, shape: Shape, chance: random.Random, now: int) -> Statement:
        where, key = self._where(shape, chance)
        using = "" if chance.random() < 0.8 else f" USING TIMESTAMP {self._moment(chance, now)}"
        return f"DELETE FROM {{ks}}.{shape.name}{using} WHERE {where}", key

    def _delete_many(self, shape: Shape, chance: random.Random, _now: int) -> Statement:
        """Delete a partition, or a range of it."""
        names = list(shape.key)
        where, key = self._where(shape, chance)
        parts = where.split(" AND ")
        if len(names) == shape.partition or chance.random() < 0.4:
            end = shape.partition
            return f"DELETE FROM {{ks}}.{shape.name} WHERE {' AND '.join(parts[:end])}", key[:end]
        end = chance.randint(shape.partition + 1, len(names))
        sign = chance.choice(("=", ">=", "<", ">"))
        last = parts[end - 1].replace(" = ", f" {sign} ")
        return f"DELETE FROM {{ks}}.{shape.name} WHERE {' AND '.join([*parts[: end - 1], last])}", key[:end]

    def _transact(self, shape: Shape, chance: random.Random, _now: int) -> Statement:
        if chance.random() < 0.6:
            return f"INSERT INTO {{ks}}.{shape.name} JSON %s IF NOT EXISTS", [_json(self._row(shape, chance))]
        where, key = self._where(shape, chance)
        return f"DELETE FROM {{ks}}.{shape.name} WHERE {where} IF EXISTS", key

    def _batch(self, shape: Shape, chance: random.Random, now: int) -> Statement:
        """Change several rows, of several tables, in one batch."""
        others = [shape, *chance.choices(self._shapes, k=2)]
        made = [(self._insert if chance.random() < 0.7 else self._delete)(each, chance, now) for each in others]
        kind = chance.choice(("", "UNLOGGED "))
        statements = "; ".join(statement for statement, _ in made)
        return f"BEGIN {kind}BATCH {statements}; APPLY BATCH", [value for _, values in made for value in values]

    def _static(self, shape: Shape, chance: random.Random, now: int) -> Statement:
        if not shape.statics:
            return self._insert(shape, chance, now)
        column, kind = chance.choice(list(shape.statics.items()))
        where, key = self._where(shape, chance)
        where = " AND ".join(where.split(" AND ")[: shape.partition])
        if chance.random() < 0.2:
            return f"DELETE {column} FROM {{ks}}.{shape.name} WHERE {where}", key[: shape.partition]
        values = [_json(ALL[kind](chance)), *key[: shape.partition]]
        return f"UPDATE {{ks}}.{shape.name} SET {column} = fromJson(%s) WHERE {where}", values

    def _row(self, shape: Shape, chance: random.Random) -> dict[str, Any]:
        """Return a row, often without some of its values."""
        values = {**shape.values, **shape.statics}
        return self._key(shape, chance) | {
            name: _value(shape, name, kind, chance) for name, kind in values.items() if chance.random() < 0.7
        }

    def _key(self, shape: Shape, chance: random.Random) -> dict[str, Any]:
        return {name: key_value(kind, chance.randrange(shape.keys)) for name, kind in shape.key.items()}

    def _where(self, shape: Shape, chance: random.Random) -> tuple[str, list[Any]]:
        key = self._key(shape, chance)
        return " AND ".join(f"{name} = fromJson(%s)" for name in key), [_json(value) for value in key.values()]

    def _using(self, shape: Shape, chance: random.Random, now: int) -> str:
        options = []
        if chance.random() < 0.15:
            options.append(f"TIMESTAMP {self._moment(chance, now)}")
        if shape.expires and chance.random() < 0.5:
            options.append(f"TTL {chance.randint(2, MOST_TTL)}")
        return f" USING {' AND '.join(options)}" if options else ""

    def _moment(self, chance: random.Random, now: int) -> int:
        """Return a client's timestamp: in the past or in the future, mostly by seconds, at times by a day.

        A timestamp a day ahead hides all later writes of the row, so it is rare.
        """
        away = DAY if chance.random() < 0.03 else chance.uniform(0, 5e6)
        return now + int(chance.choice((-1, 1)) * away)


def _value(shape: Shape, column: str, kind: str, chance: random.Random) -> Any:
    return key_value(kind, chance.randrange(REFERRED)) if column in shape.refers else ALL[kind](chance)


def key_value(kind: str, number: int) -> Any:
    """Return the value of a key column that has this number: few values, so that changes of one row meet."""
    return ALL[kind](random.Random(int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest()[:8])))  # noqa: S311


def _json(value: Any) -> str:
    return json.dumps(value)
