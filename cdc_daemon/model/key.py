"""The key of one unit of reading and writing."""

from __future__ import annotations

from typing import NamedTuple

from cdc_daemon.model.signal import Clustering, Scope, Signal, TableName


class Key(NamedTuple):
    """The unit that is read and settled: a row, or with `clustering` None the documents of a whole partition."""

    table: TableName
    partition_key: bytes
    clustering: Clustering | None

    @classmethod
    def of(cls, signal: Signal) -> Key:
        """Return the key of a signal."""
        return cls(signal.table, signal.partition_key, signal.clustering if signal.scope is Scope.ROW else None)
