"""The documents that are set aside: kept with readable keys, deleted when they are written after all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters, DocumentPlace
from cdc_daemon.values.cql_json import json_value

_EXACT_IN_BROWSERS = 2**53 - 1
"""JavaScript's `Number.MAX_SAFE_INTEGER`."""


class DeadDocuments:
    """Tracks the documents that are set aside, so that the check for any other costs one dictionary lookup.

    Letters that someone else deletes from the store stay known until their rows are written; deleting them again has no
    effect. `set_aside` and `revive` block for a commit and raise `StoreError`.
    """

    def __init__(self, letters: DeadLetters, tables: Mapping[TableName, TableMetadata]) -> None:
        self._letters = letters
        self._tables = tables
        self._aliases: dict[DocumentPlace, set[str]] = {}

    def load(self) -> Self:
        """Load the documents that an earlier process set aside. Blocks, and raises `StoreError`."""
        for place, alias in self._letters.documents():
            self._aliases.setdefault(place, set()).add(alias)
        return self

    def has(self, key: Key, alias: str) -> bool:
        """Return whether a row's document under this alias is set aside, or all of its documents are."""
        aliases = self._aliases.get(_place(key)) if self._aliases else None
        return aliases is not None and not aliases.isdisjoint((alias, ""))

    def set_aside(self, letters: Sequence[DeadLetter]) -> None:
        """Write letters durably, with their keys made readable."""
        self._letters.add([self._with_key(letter) for letter in letters])
        for letter in letters:
            self._aliases.setdefault(letter.place, set()).add(letter.alias)

    def revive(self, shown: Sequence[tuple[Key, str]]) -> None:
        """Delete the letters of documents that were written, given by their keys and aliases."""
        self._letters.revive([(_place(key), alias) for key, alias in shown])
        for key, alias in shown:
            left = self._aliases.get(_place(key), set()) - {alias, ""}
            if left:
                self._aliases[_place(key)] = left
            else:
                self._aliases.pop(_place(key), None)

    def _with_key(self, letter: DeadLetter) -> DeadLetter:
        table = self._tables.get(TableName(letter.keyspace or "", letter.table or ""))
        if table is None:
            return letter
        key = readable_key(table, letter.partition_key or b"", letter.clustering or ())
        return letter if key is None else dataclasses.replace(letter, detail={**letter.detail, "key": key})


def readable_key(
    table: TableMetadata, partition_key: bytes, clustering: Sequence[bytes | None]
) -> Mapping[str, Any] | None:
    """Return a key's values by column name; None if the bytes are not a key of the table."""
    columns = (*table.partition_key, *table.clustering)
    try:
        values = (*table.key_values(partition_key), *table.clustering_values(clustering))
        return {column.name: _exact(json_value(value)) for column, value in zip(columns, values, strict=False)}
    except Exception:  # noqa: BLE001 -- a letter is kept of any key
        return None


def _exact(value: Any) -> Any:
    """Return a JSON value in which integers that a browser would round are strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _EXACT_IN_BROWSERS else str(value)
    if isinstance(value, list):
        return [_exact(each) for each in value]
    return {name: _exact(each) for name, each in value.items()} if isinstance(value, dict) else value


def _place(key: Key) -> DocumentPlace:
    return key.table.keyspace, key.table.table, key.partition_key, key.clustering
