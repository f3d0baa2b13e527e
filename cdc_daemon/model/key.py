"""The key that is read and written as one unit."""

from __future__ import annotations

from typing import NamedTuple

from cdc_daemon.model.signal import Clustering, Scope, Signal, TableName


class Key(NamedTuple):
    """What is read and settled as one: a row, or with `clustering` None the documents of a whole partition."""

    table: TableName
    partition_key: bytes
    clustering: Clustering | None

    @classmethod
    def of(cls, signal: Signal) -> Key:
        """Return the key that a signal speaks of."""
        return cls(signal.table, signal.partition_key, signal.clustering if signal.scope is Scope.ROW else None)
