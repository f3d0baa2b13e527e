"""The tables of a run, and the mappings that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.torture.values import ALL, VECTOR

KEYSPACE = "torture"
TYPES = ("CREATE TYPE {ks}.address (street text, zip int, phones frozen<list<text>>)",)
PROBE = "probe"
"""The table of one row whose document shows how far search lags behind."""

BULK = "bulk"
"""An unmapped table whose large rows complete segments of the log."""

REFERRED = 12
"""The number of keys of the tables that other rows refer to."""

REKEYED = "recreated"
"""The table that is created again with another primary key."""

PURCHASE, CITY = "purchase", "city"

FORGETFUL = {"number_of_shards": 1, "number_of_replicas": 0, "gc_deletes": "4s"}
"""Settings of an index that soon forgets deletions: the hard case for requests that arrive late."""

USUAL = {"number_of_shards": 1, "number_of_replicas": 0}


@dataclass
class Shape:
    """A table: its columns in CQL, options, and what its mapping declares besides table, alias and index settings.

    `key`, `values` and `statics` name the type of each column. `values` grows when a column is added.
    """

    name: str
    key: Mapping[str, str]
    values: Mapping[str, str]
    primary: str
    statics: Mapping[str, str] = field(default_factory=dict)
    options: str = ""
    partition: int = 1
    """The number of columns of the partition key, which are the first ones of the key."""

    mapping: Mapping[str, Any] = field(default_factory=dict)
    expires: bool = False
    """Whether the load writes rows that expire."""

    keys: int = 40
    """About how many different values a key column has."""

    refers: frozenset[str] = frozenset()
    """The columns whose values are keys of another table, of which they have `REFERRED` different ones."""

    @property
    def is_joined(self) -> bool:
        """Whether its documents show rows of other tables: of PURCHASE and CITY."""
        return "joins" in self.mapping

    @property
    def keeps_removed(self) -> bool:
        """Whether documents of removed rows are kept and marked."""
        return self.mapping.get("on_row_delete") == "mark"

    def __post_init__(self) -> None:
        self.first_values = dict(self.values)
        """The columns that the table has when it is created."""

    def create(self) -> str:
        """Return the statement that creates the table."""
        columns = [
            *(f"{name} {kind}" for name, kind in {**self.key, **self.first_values}.items()),
            *(f"{name} {kind} static" for name, kind in self.statics.items()),
            f"PRIMARY KEY ({self.primary})",
        ]
        options = f" AND {self.options}" if self.options else ""
        return f"CREATE TABLE {{ks}}.{self.name} ({', '.join(columns)}) WITH cdc = true{options}"

    def declare(self) -> dict[str, Any]:
        """Return the table's mapping in the daemon's configuration."""
        usual = {"table": f"{KEYSPACE}.{self.name}", "alias": alias_of(self.name), "settings": FORGETFUL}
        return {**usual, "on_drop": "remove", **self.mapping}


def alias_of(name: str) -> str:
    """Return the alias of a table's documents."""
    return f"{KEYSPACE}-{name}"


def shapes(*, vectors: bool) -> Iterator[Shape]:
    """Return all tables that are mapped, but for that of the probe. Vectors are for Cassandra 5.0 and later."""
    kinds = [kind for kind in ALL if vectors or kind != VECTOR]
    yield Shape("types", {"id": "int"}, {f"c{at}": kind for at, kind in enumerate(kinds)}, "id")
    account = {"name": "text", "age": "int", "tags": "set<text>", "notes": "map<text, text>"}
    yield Shape("account", {"id": "text"}, account, "id", mapping={"settings": USUAL})
    yield Shape(
        "event",
        {"p": "int", "c": "int", "d": "text"},
        {"v": "int", "tags": "set<text>", "items": "list<int>"},
        "p, c, d",
        statics={"s": "text", "m": "map<text, int>"},
        options="CLUSTERING ORDER BY (c DESC, d ASC)",
        keys=8,
    )
    yield Shape(
        "keyed",
        {"a": "uuid", "b": "date", "c": "timestamp", "d": "blob"},
        {"v": "text", "n": "varint"},
        "(a, b), c, d",
        partition=2,
        keys=4,
    )
    yield Shape("fleeting", {"id": "int"}, {"v": "text", "tags": "set<text>"}, "id", expires=True)
    yield Shape("session", {"u": "int", "c": "int"}, {"v": "text"}, "u, c", options="default_time_to_live = 6", keys=8)
    yield Shape(
        "shown",
        {"id": "int"},
        {"hidden": "boolean", "v": "text"},
        "id",
        mapping={"where": "hidden != true"},
    )
    yield Shape(CITY, {"id": "int"}, {"name": "text"}, "id", keys=REFERRED)
    yield Shape(PURCHASE, {"customer": "int", "n": "int"}, {"total": "decimal"}, "customer, n", keys=REFERRED)
    yield Shape(
        "customer",
        {"id": "int"},
        {"name": "text", "city": "int"},
        "id",
        keys=REFERRED,
        refers=frozenset({"city"}),
        mapping={
            "joins": {
                "purchases": {"table": f"{KEYSPACE}.{PURCHASE}", "on": {"customer": "id"}, "exclude": ["customer"]}
            },
            "lookups": {
                "town": {
                    "table": f"{KEYSPACE}.{CITY}",
                    "on": {"id": "city"},
                    "fields": {"name": "townName"},
                    "dependents": {"field": "city"},
                }
            },
        },
    )
    yield Shape("kept", {"id": "int"}, {"v": "text"}, "id", mapping={"on_row_delete": "mark"})
    yield Shape(REKEYED, {"id": "int", "c": "int"}, {"v": "text", "at": "timestamp"}, "id, c", keys=8)


def probe_shape() -> Shape:
    """Return the table of the probe."""
    return Shape(PROBE, {"id": "int"}, {"n": "bigint"}, "id", mapping={"settings": USUAL})
