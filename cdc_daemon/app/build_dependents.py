"""The parts that refresh dependents, put together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from cassandra.cluster import Session

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.read_ahead import EARLY_SECONDS
from cdc_daemon.pipeline.routes import references_of
from cdc_daemon.pipeline.routing import find_route
from cdc_daemon.sources.dependents.finding import ByField, ByTable, DependentFinder
from cdc_daemon.sources.removals.index_rows import IndexRows
from cdc_daemon.store.dependents import ChangedRow, Dependent, DependentStore

TableOf = Callable[[TableName], TableMetadata]

OTHERS_SECONDS = 2.0 + EARLY_SECONDS
"""How long other daemons' documents may be on their way, which this one cannot see: from the read of a row to its
document. Unlike what jobs wait for, that has no time in a log in it, as a row that is read later shows the change. Each
changed row waits for it, so it is not longer than it has to be."""


class StoredQueue:
    """The store's queue for the event loop."""

    def __init__(self, store: DependentStore) -> None:
        self._store = store

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        """Keep changed rows durably. Raises `StoreError`."""
        await asyncio.to_thread(self._store.add, rows)

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the rows that have waited longest."""
        if not self._store.count:
            return ()
        return await asyncio.to_thread(self._store.oldest, limit, besides=besides)

    async def pass_over(self, dependent: Dependent) -> None:
        """Return a row no more before it changes again, or `bring_back`."""
        await asyncio.to_thread(self._store.pass_over, dependent)

    async def bring_back(self) -> None:
        """Return all rows again that were passed over."""
        await asyncio.to_thread(self._store.bring_back)

    async def done(self, dependent: Dependent) -> None:
        """Forget a row, unless it changed again meanwhile."""
        await asyncio.to_thread(self._store.done, dependent)


def make_finders(
    mappings: Iterable[DocumentMapping], table_of: TableOf, *, session: Session, rows: IndexRows
) -> Mapping[TableName, Sequence[DependentFinder]]:
    """Return, by table, how the documents are found that show its rows, where its keys do not tell.

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
                finders[joined].append(ByField(rows, mapping.alias, base, other, declared.field))
            elif declared.table is not None:
                by_table = ByTable(
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
    """Return what waits for other daemons' documents on their way, where there may be other daemons."""

    def wait() -> asyncio.Future[None]:
        several = len(session.cluster.metadata.all_hosts()) > 1
        return asyncio.ensure_future(asyncio.sleep(OTHERS_SECONDS if several else 0))

    return wait
