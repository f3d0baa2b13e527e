"""Builds the parts that refresh dependents."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from cassandra.cluster import Session

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.prefetch import PREFETCH_SECONDS
from cdc_daemon.pipeline.routes import references_of
from cdc_daemon.pipeline.routing import find_route
from cdc_daemon.sources.dependents.finders import DependentFinder, DependentsByField, DependentsByTable
from cdc_daemon.sources.unlogged_removals.index_rows import IndexRows
from cdc_daemon.store.dependents import ChangedRow, Dependent, DependentStore

TableOf = Callable[[TableName], TableMetadata]

OTHERS_SECONDS = 2.0 + PREFETCH_SECONDS
"""Seconds from the read of a row to its document in other daemons, which this one cannot see. Unlike the pause of jobs,
it includes no time in a log, because a row that is read later shows the change. Each changed row waits this long, so it
is as short as possible."""


class StoredQueue:
    """Async access to the store's queue."""

    def __init__(self, store: DependentStore) -> None:
        self._store = store

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        """Store changed rows durably. Raises `StoreError`."""
        await asyncio.to_thread(self._store.add, rows)

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the oldest rows."""
        if not self._store.count:
            return ()
        return await asyncio.to_thread(self._store.oldest, limit, besides=besides)

    async def pass_over(self, dependent: Dependent) -> None:
        """Skip a row until it changes again, or until `bring_back`."""
        await asyncio.to_thread(self._store.pass_over, dependent)

    async def bring_back(self) -> None:
        """Stop skipping the rows that were passed over."""
        await asyncio.to_thread(self._store.bring_back)

    async def done(self, dependent: Dependent) -> None:
        """Delete a row, unless it has changed again since."""
        await asyncio.to_thread(self._store.done, dependent)


def make_finders(
    mappings: Iterable[DocumentMapping], table_of: TableOf, *, session: Session, rows: IndexRows
) -> Mapping[TableName, Sequence[DependentFinder]]:
    """Return, by table, the finders of documents that show its rows, where its keys do not identify them.

    Raises `ConfigError` for dependents that cannot be found as declared.
    """
    finders: dict[TableName, list[DependentFinder]] = defaultdict(list)
    for mapping in mappings:
        base = TableName(mapping.table.keyspace, mapping.table.name)
        for reference in references_of(mapping):
            declared, joined = reference.dependents, reference.relation.table
            other = table_of(joined)
            if declared is None or declared.ignore:
                continue
            if find_route(base, mapping.table, other, reference.on) is not None:
                continue
            if declared.field is not None:
                finders[joined].append(DependentsByField(rows, mapping.alias, base, other, declared.field))
            elif declared.table is not None:
                by_table = DependentsByTable(
                    session,
                    declared,
                    listing=table_of(declared.table),
                    shown_in=mapping.table,
                    other=other,
                    rows=rows,
                )
                finders[joined].append(by_table)
    return finders


def wait_for_others(session: Session) -> Callable[[], asyncio.Future[None]]:
    """Return a function that waits for other daemons' in-flight documents, if there may be other daemons."""

    def wait() -> asyncio.Future[None]:
        several = len(session.cluster.metadata.all_hosts()) > 1
        return asyncio.ensure_future(asyncio.sleep(OTHERS_SECONDS if several else 0))

    return wait
