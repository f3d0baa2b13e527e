"""Keys as bytes and keys as the driver's values: which of them survive a round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cassandra.query import PreparedStatement

from cdc_daemon.cassandra.plan import ReadPlan
from cdc_daemon.model.key import Key

_EXACT_TYPES = frozenset(
    ("text", "ascii", "blob", "uuid", "timeuuid", "int", "bigint", "smallint", "tinyint", "date", "time")
)
"""Types with an exact round trip: the driver serialises non-empty values to their original bytes.

Other types may differ: the driver converts a timestamp to a float, a NaN loses its payload, a varint
its superfluous leading bytes."""

Serialiser = Callable[[Any], bytes]


def serialisers(prepared: PreparedStatement) -> Sequence[Serialiser]:
    """Return, for each column of a statement's rows, the function that serialises its values to bytes."""
    version = prepared.protocol_version

    def of(kind: Any) -> Serialiser:
        return lambda value: kind.serialize(value, version)

    return [of(column[3]) for column in prepared.result_metadata]


def exacting_keys(plan: ReadPlan, prepared: PreparedStatement, keys: Iterable[Key]) -> set[Key]:
    """Return the keys that cannot be matched to rows of a multi-key answer, and so need a query each."""
    columns = plan.key_columns
    trusted = all(column.type.name in _EXACT_TYPES for column in columns)
    if trusted and len(columns) == 1:
        return set()  # Cassandra accepts no empty partition key
    if trusted:
        return {key for key in keys if any(not part for part in _parts(plan, key))}
    version = prepared.protocol_version
    kinds = [column[3] for column in prepared.result_metadata[: len(columns)]]
    return {key for key in keys if not _comes_back(_parts(plan, key), kinds, version)}


def _parts(plan: ReadPlan, key: Key) -> tuple[bytes | None, ...]:
    return (*plan.table.split_key(key.partition_key), *(key.clustering or ()))


def _comes_back(parts: Sequence[bytes | None], kinds: Sequence[Any], version: int) -> bool:
    for part, kind in zip(parts, kinds, strict=True):
        if not part:
            return False
        try:
            if kind.serialize(kind.deserialize(part, version), version) != part:
                return False
        except Exception:  # noqa: BLE001 -- whatever the driver raises, such a key has to be asked for alone
            return False
    return True
