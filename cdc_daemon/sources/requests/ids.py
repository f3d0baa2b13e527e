"""Parses the ids of one object type into the keys of rows or partitions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.config.mapping_names import parse_template
from cdc_daemon.document.identity import Identity
from cdc_daemon.document.shape import rename_of
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.sources.requests.errors import InvalidIdError
from cdc_daemon.sources.requests.key_encoding import encoder

LONGEST_PART = 65_535
"""Maximum bytes of a partition key or a clustering value in Cassandra (`FBUtilities.MAX_UNSIGNED_SHORT`)."""

_SHOWN = 64


@dataclass(frozen=True, slots=True)
class RequestedId:
    """One id of a request: its label in the response, and its key."""

    label: str
    key: Key

    @property
    def signal(self) -> Signal:
        """Return the signal for the pipeline. It has no write time: the request wants the current row."""
        key = self.key
        scope = Scope.STATIC if key.clustering is None else Scope.ROW
        return Signal(key.table, key.partition_key, scope, key.clustering or ())


class IdParser:
    """Parses the ids of one mapping.

    A text is a document's readable `_id` as `Identity` makes it, with backslashes before separators inside values. The
    beginning of an `_id` that contains the partition key means all rows of the partition. If `_id`s leave out other key
    columns, an `_id` means all rows of its partition. If they leave out the partition key, a text is the partition key
    itself, provided that this is one column. An object names columns, or the document fields that contain them.
    """

    def __init__(self, settings: MappingSettings, table: TableMetadata) -> None:
        self._table = table
        self._name = TableName(table.keyspace, table.name)
        self._partition = tuple(column.name for column in table.partition_key)
        self._columns = (*self._partition, *(column.name for column in table.clustering))
        columns = (*table.partition_key, *table.clustering)
        self._encoders = {column.name: encoder(column.type) for column in columns}
        rename = rename_of(settings.names)
        called = {each: rename(each) for each in self._columns}
        self._spellings = _spellings(self._columns, {**called, **settings.fields})
        self._identity = Identity(table, settings.id)
        self._names_partition = _names_partition(settings.id, self._partition)
        self._expected = _expected(settings.id, self._partition, self._columns)

    def parse(self, ids: Sequence[Any]) -> list[RequestedId]:
        """Parse ids in order. Raises `InvalidIdError` for the first invalid one."""
        found = []
        for at, identity in enumerate(ids):
            try:
                found.append(self.parse_one(identity))
            except InvalidIdError as error:
                raise InvalidIdError(error.message, at=at, column=error.column) from None
        return found

    def parse_one(self, identity: Any) -> RequestedId:
        """Parse one id. Raises `InvalidIdError`."""
        if isinstance(identity, str):
            return RequestedId(identity, self._key(self._values_of_text(identity)))
        if isinstance(identity, dict):
            values = self._values_of_object(identity)
            return RequestedId(self._label(values), self._key(values))
        raise InvalidIdError(f"expected a text or an object, found {_show(identity)}")

    def _values_of_text(self, text: str) -> Mapping[str, Any]:
        for found in (self._identity.parse(text), self._identity.parse_partition(text)):
            for columns in (self._columns, self._partition):
                if found is not None and found.keys() == set(columns):
                    return found
        named = self._identity.parse(text) or {}
        if named.keys() >= set(self._partition):
            return {column: named[column] for column in self._partition}
        if not self._names_partition and len(self._partition) == 1:
            return {self._partition[0]: text}
        raise InvalidIdError(f"expected {self._expected}, found {_show(text)}")

    def _values_of_object(self, named: Mapping[str, Any]) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        for name, value in named.items():
            column = self._spellings.get(name) or self._spellings.get(name.lower())
            if column is None:
                raise InvalidIdError(f"expected columns of the key ({_names(self._columns)}), found {_show(name)}")
            if column in values:
                raise InvalidIdError("expected each column once, found it twice", column=column)
            values[column] = value
        for columns in (self._columns, self._partition):
            if values.keys() == set(columns):
                return {column: values[column] for column in columns}
        missing = [column for column in self._columns if column not in values]
        raise InvalidIdError(
            f"expected {_names(self._columns)}, or {_names(self._partition)} alone, "
            f"found an object without {_names(missing)}"
        )

    def _label(self, values: Mapping[str, Any]) -> str:
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values.values()]
        if len(self._columns) == 1:
            return texts[0]
        return ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in texts)

    def _key(self, values: Mapping[str, Any]) -> Key:
        parts = {column: self._encode(column, values[column]) for column in values}
        partition_key = self._table.join_key([parts[column] for column in self._partition])
        if not partition_key or len(partition_key) > LONGEST_PART:
            raise InvalidIdError(
                f"expected a partition key of 1 to {LONGEST_PART} bytes, found {len(partition_key)}",
                column=self._partition[0],
            )
        if len(parts) < len(self._columns):
            return Key(self._name, partition_key, None)
        return Key(self._name, partition_key, tuple(parts[column] for column in self._columns[len(self._partition) :]))

    def _encode(self, column: str, value: Any) -> bytes:
        try:
            encoded = self._encoders[column](value)
        except ValueError as error:
            raise InvalidIdError(f"expected {error}, found {_show(value)}", column=column) from None
        if len(encoded) > LONGEST_PART:
            raise InvalidIdError(f"expected at most {LONGEST_PART} bytes, found {len(encoded)}", column=column)
        return encoded


def _expected(template: str | None, partition: Sequence[str], columns: Sequence[str]) -> str:
    """Describe the valid ids, for error messages."""
    an_object = f"an object with {_names(columns)}"
    spelt = template or ":".join(f"{{{name}}}" for name in columns)
    parts = parse_template(spelt)
    if {part.column for part in parts} - {None} not in (set(columns), set(partition)):
        meaning = "the partition it names" if _names_partition(template, partition) else "a partition, by its key"
        return (
            f"{an_object}: the template of this type's ids, {spelt}, leaves out key columns, "
            f"so a text means all rows of {meaning}"
        )
    if len(columns) == 1:
        return f"an id like {spelt}"
    return (
        f"an id like {spelt} (with \\ before a separator inside a value), its beginning for all rows "
        f"of a partition, or {an_object}"
    )


def _names_partition(template: str | None, partition: Sequence[str]) -> bool:
    """Return whether ids name a column of the partition key."""
    return template is None or any(part.column in partition for part in parse_template(template))


def _spellings(columns: Sequence[str], fields: Mapping[str, str]) -> dict[str, str]:
    """Return the columns by the names that requests may use; a column's own name takes precedence."""
    found = {fields[column].lower(): column for column in columns if column in fields}
    found |= {fields[column]: column for column in columns if column in fields}
    found |= {column.lower(): column for column in columns}
    return found | {column: column for column in columns}


def _names(columns: Sequence[str]) -> str:
    return " and ".join((", ".join(columns[:-1]), columns[-1])) if len(columns) > 1 else columns[0]


def _show(value: Any) -> str:
    """Return a short text of an unexpected value."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
