"""Random values of every CQL type, as CQL's JSON takes them."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

Make = Callable[[random.Random], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = ("", "a", "ü", "naïve text", '"quoted" \\ and {braces}', "line\nbreak", "漢字", "\U0001f600", "x" * 300)


def text(chance: random.Random) -> str:
    """Return a text, often an awkward one."""
    return chance.choice(_WORDS) if chance.random() < 0.3 else "".join(chance.choices(string.ascii_letters, k=8))


def number(bits: int) -> Make:
    """Return a maker of whole numbers of so many bits, both limits included."""
    limit = 1 << (bits - 1)

    def make(chance: random.Random) -> int:
        return chance.choice((-limit, limit - 1, 0)) if chance.random() < 0.2 else chance.randint(-1000, 1000) % limit

    return make


def _blob(chance: random.Random) -> str:
    return f"0x{chance.randbytes(chance.randrange(20)).hex()}"


def _date(chance: random.Random) -> str:
    return (date(1970, 1, 1) + timedelta(days=chance.randrange(-20_000, 40_000))).isoformat()


def _decimal(chance: random.Random) -> str:
    return f"{chance.randrange(-(10**12), 10**12)}.{chance.randrange(10**6):0{chance.randint(6, 9)}}"


def _duration(chance: random.Random) -> str:
    return f"{chance.randrange(1, 20)}mo{chance.randrange(1, 40)}d{chance.randrange(1, 10**9)}ns"


def _time(chance: random.Random) -> str:
    return f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}.{chance.randrange(10**9):09}"


def _timestamp(chance: random.Random) -> str:
    moment = _EPOCH + timedelta(milliseconds=chance.randrange(-(10**12), 3 * 10**12))
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _timeuuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=1))


def _inet(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return f"192.0.2.{chance.randrange(256)}"
    return f"2001:db8::{chance.randrange(1, 2**16):x}"


def _float(chance: random.Random) -> float:
    return chance.randint(-(2**20), 2**20) / 64


def listed(make: Make, most: int = 3) -> Make:
    """Return a maker of lists. Each element comes once, so it makes sets too."""
    return lambda chance: list(
        {repr(each): each for each in (make(chance) for _ in range(chance.randint(0, most)))}.values()
    )


def mapped(key: Make, value: Make) -> Make:
    """Return a maker of maps."""
    return lambda chance: {str(key(chance)): value(chance) for _ in range(chance.randint(0, 3))}


def address(chance: random.Random) -> dict[str, Any]:
    """Return a value of the user type `address`, often with a field that is not set."""
    made = {"street": text(chance), "zip": chance.randrange(10**5), "phones": listed(text)(chance)}
    return {name: value for name, value in made.items() if chance.random() < 0.8}


SIMPLE: dict[str, Make] = {
    "ascii": lambda chance: "".join(chance.choices(string.ascii_letters, k=5)),
    "bigint": number(64),
    "blob": _blob,
    "boolean": lambda chance: chance.random() < 0.5,
    "date": _date,
    "decimal": _decimal,
    "double": lambda chance: chance.uniform(-1e9, 1e9),
    "duration": _duration,
    "float": _float,
    "inet": _inet,
    "int": number(32),
    "smallint": number(16),
    "text": text,
    "time": _time,
    "timestamp": _timestamp,
    "timeuuid": _timeuuid,
    "tinyint": number(8),
    "uuid": _uuid,
    "varint": lambda chance: chance.randrange(-(10**30), 10**30),
}
"""A maker for each type without parts. Counters have no place here: no statement sets them."""

COMPOSED: dict[str, Make] = {
    "list<int>": listed(number(32)),
    "set<text>": listed(text),
    "map<text, int>": mapped(text, number(32)),
    "map<text, text>": mapped(text, text),
    "frozen<list<timestamp>>": listed(_timestamp),
    "frozen<map<int, text>>": mapped(number(8), text),
    "map<text, frozen<list<int>>>": mapped(text, listed(number(32))),
    "tuple<int, text>": lambda chance: [number(32)(chance), text(chance)],
    "address": address,
    "frozen<address>": address,
    "list<frozen<address>>": listed(address),
    "map<text, frozen<address>>": mapped(text, address),
}

VECTOR = "vector<float, 3>"
"""Cassandra has it since 5.0."""

ALL: dict[str, Make] = {**SIMPLE, **COMPOSED, VECTOR: lambda chance: [_float(chance) for _ in range(3)]}
