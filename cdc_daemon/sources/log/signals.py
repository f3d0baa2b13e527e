"""Convert updates in the commit log to signals for the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from cdc_daemon.commitlog.key_update import KeyUpdate, RangeKey
from cdc_daemon.model.signal import Clustering, Scope, Signal, TableName


def signals_of(updates: Iterable[KeyUpdate]) -> Iterator[Signal]:
    """Yield the signals of updates: one for each row, range, static row and removed partition.

    In a table without clustering columns the partition is the row, so its removal removes that row. A removed range
    becomes the clustering prefix that both its bounds share, so the signal can cover more rows than were removed. This
    is safe, as each row is read before it is processed.
    """
    for update in updates:
        table = TableName(update.table.keyspace, update.table.name)
        key = update.partition_key
        removed = update.partition_deletion or 0
        # A time older than every write means that the time is unknown.
        written = max(update.timestamp, 0)
        if not update.table.clustering:
            yield _only_row(update, table, written, removed)
            continue
        if update.partition_deletion is not None:
            yield Signal(table, key, Scope.PARTITION, removed=removed)
        for removed_range in update.ranges:
            yield Signal(table, key, Scope.RANGE, common_prefix(removed_range), removed=removed_range.deletion)
        if update.static:
            yield Signal(table, key, Scope.STATIC, written=written, expires=update.expires)
        for row in update.rows:
            if row.deleted:
                yield Signal(table, key, Scope.ROW, row.clustering, removed=max(written, removed))
            else:
                yield Signal(table, key, Scope.ROW, row.clustering, written, removed, expires=update.expires)


def count_scopes(updates: Iterable[KeyUpdate]) -> Counter[tuple[TableName, str]]:
    """Count the signals that `signals_of` would yield by table and scope, without making them.

    Two of three changes are other daemons' on a ring of three replicas, so they must cost little.
    """
    found: Counter[tuple[TableName, str]] = Counter()
    for update in updates:
        table = TableName(update.table.keyspace, update.table.name)
        if not update.table.clustering:
            found[table, Scope.ROW.value] += 1
            continue
        if update.rows:
            found[table, Scope.ROW.value] += len(update.rows)
        if update.ranges:
            found[table, Scope.RANGE.value] += len(update.ranges)
        if update.static:
            found[table, Scope.STATIC.value] += 1
        if update.partition_deletion is not None:
            found[table, Scope.PARTITION.value] += 1
    return found


def _only_row(update: KeyUpdate, table: TableName, written: int, removed: int) -> Signal:
    if any(row.deleted for row in update.rows):
        removed = max(removed, written)
    if all(row.deleted for row in update.rows):
        written = 0
    return Signal(table, update.partition_key, Scope.ROW, written=written, removed=removed, expires=update.expires)


def common_prefix(removed: RangeKey) -> Clustering:
    """Return the leading clustering values that both bounds of a range have in common."""
    prefix = []
    for start, end in zip(removed.start, removed.end, strict=False):
        if start != end:
            break
        prefix.append(start)
    return tuple(prefix)
