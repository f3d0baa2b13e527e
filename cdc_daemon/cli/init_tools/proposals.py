"""Proposes a mapping for each table, and joins where the names and types of keys suggest them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import ConfigError

_COMMON_NAMES: Final = frozenset({"id", "key", "name", "uuid", "uid", "type", "date", "day", "bucket"})
"""Names of key columns that say nothing about what they identify."""

_NAME: Final = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True, slots=True)
class JoinProposal:
    """A table whose rows may belong into a document: its partition key column has the values of the parent's key."""

    field: str
    child: TableMetadata
    child_column: str
    parent_column: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping: its name, the alias of its index, and the joins that may fit."""

    name: str
    alias: str
    table: TableMetadata
    joins: Sequence[JoinProposal]


def choose(
    tables: Sequence[TableMetadata], *, keyspaces: Collection[str], names: Collection[str]
) -> list[TableMetadata]:
    """Return the tables of these keyspaces and of these names (`keyspace.table`, or `table` if only one has it).

    Without both, all tables. Raises `ConfigError` for a keyspace or table that does not exist.
    """
    every = {table.keyspace for table in tables}
    for keyspace in keyspaces:
        if keyspace not in every:
            raise ConfigError(f"expected a keyspace with tables, found no {keyspace}", hint=_near(keyspace, every))
    within = [table for table in tables if not keyspaces or table.keyspace in keyspaces]
    if not names:
        return within
    chosen = []
    for name in names:
        found = [table for table in within if name in (table.name, f"{table.keyspace}.{table.name}")]
        if not found:
            known = [f"{table.keyspace}.{table.name}" for table in within]
            raise ConfigError(f"expected a table, found no {name}", hint=_near(name, known))
        if len(found) > 1:
            several = ", ".join(f"{table.keyspace}.{table.name}" for table in found)
            raise ConfigError(f"expected one table, found several called {name}: {several}")
        chosen += [table for table in found if table not in chosen]
    return chosen


def propose(
    tables: Sequence[TableMetadata],
    *,
    every: Sequence[TableMetadata],
    taken_names: Collection[str] = (),
    taken_aliases: Collection[str] = (),
) -> list[Proposal]:
    """Return a mapping for each table; `every` are the tables that may be joined.

    A name or an alias that several tables would have, or that is taken, begins with the keyspace. A table whose name
    the configuration cannot hold is left out.
    """
    usable = [table for table in tables if _NAME.fullmatch(table.keyspace) and _NAME.fullmatch(table.name)]
    shared = {table.name for table in usable if sum(each.name == table.name for each in usable) > 1}
    found = []
    for table in usable:
        name = alias = table.name
        if name in shared or name in taken_names:
            name = f"{table.keyspace}_{table.name}"
        if alias in shared or alias in taken_aliases or alias.startswith("_"):
            alias = f"{table.keyspace}-{table.name}"
        found.append(Proposal(name, alias.lstrip("_"), table, list(_joins(table, every))))
    return found


def _joins(parent: TableMetadata, tables: Iterable[TableMetadata]) -> Iterable[JoinProposal]:
    """Return the tables whose only partition key column is named after the parent or its key, and has its type."""
    if len(parent.partition_key) != 1 or parent.clustering:
        return
    (key,) = parent.partition_key
    fields = {column.name for column in (*parent.static, *parent.regular, key)}
    for child in tables:
        if child.keyspace != parent.keyspace or child is parent or len(child.partition_key) != 1:
            continue
        (column,) = child.partition_key
        if (
            str(column.type) == str(key.type)
            and child.name not in fields
            and _refers(column.name, parent.name, key.name)
        ):
            yield JoinProposal(child.name, child, column.name, key.name)


def _refers(column: str, table: str, key: str) -> bool:
    plain = column.lower().replace("_", "")
    names = {name.lower().replace("_", "") for name in (table, _singular(table))}
    named_after = plain in names or any(plain == f"{name}{key.lower().replace('_', '')}" for name in names)
    return named_after or any(plain == f"{name}id" for name in names) or (column == key and key not in _COMMON_NAMES)


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _near(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
