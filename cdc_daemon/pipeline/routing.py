"""Routes changes of joined rows to the documents that show them.

A change of a joined row is first an entry of its own. It is read, and doubted, like any other, so that any later
read shows the change (docs/guarantees.md, promise 2). Then it is passed on to the rows with documents that show
it, as signals that contain no write time of these rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import DependentsSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.document.related import Related, Relation
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.store.dependents import ChangedRow

TableOf = Callable[[TableName], TableMetadata]


@dataclass(frozen=True, slots=True)
class Route:
    """Derives the rows to update from the key of a joined row.

    `split` splits the joined table's partition key. `partition` holds the positions, among its components, of the
    components of the other table's partition key. `clustering` holds the positions, among the whole key of the joined
    row, of its clustering values, or None if the key does not contain them: then the whole partition is refreshed.
    """

    table: TableName
    split: Callable[[bytes], Sequence[bytes]]
    partition: tuple[int, ...]
    clustering: tuple[int, ...] | None

    def signal(self, partition_key: bytes, clustering: Sequence[bytes | None] | None, since: int) -> Signal:
        """Return the signal for the rows that show it; `clustering` is None if a whole partition was changed."""
        parts: list[bytes | None] = list(self.split(partition_key))
        key = TableMetadata.join_key([parts[at] or b"" for at in self.partition])
        parts.extend(clustering or ())
        if self.clustering is None or any(at >= len(parts) for at in self.clustering):
            return Signal(self.table, key, Scope.ROWS, passed_on=True, since=since)
        clustering = tuple(parts[at] for at in self.clustering)
        return Signal(self.table, key, Scope.ROW, clustering, passed_on=True, since=since)


def find_route(
    table: TableName, base: TableMetadata, joined: TableMetadata, on: Iterable[tuple[str, str]]
) -> Route | None:
    """Return the route from rows of `joined` to rows of `base`, matched by `on`; None if keys do not identify them.

    `on` pairs key columns of the joined table with columns of the base table. The joined table's partition key has to
    determine the base's, so that the removal of a whole joined partition can be routed too.
    """
    names = [column.name for column in (*joined.partition_key, *joined.clustering)]
    places = {column: names.index(other) for other, column in on if other in names}
    partition = [places.get(column.name) for column in base.partition_key]
    clustering = [places.get(column.name) for column in base.clustering]
    known = tuple(at for at in partition if at is not None and at < len(joined.partition_key))
    if len(known) < len(partition):
        return None
    exact = tuple(at for at in clustering if at is not None)
    return Route(table, joined.split_key, known, exact if len(exact) == len(clustering) else None)


class Followed(NamedTuple):
    """Tables with rows that do not identify their dependent documents by key, and the store that records their changes.

    `keep` returns when the record is durable; it raises `StoreError`. `clock` gives the version from which documents
    show the change.
    """

    tables: frozenset[TableName]
    keep: Callable[[Sequence[ChangedRow]], Awaitable[None]]
    clock: HybridClock


class Router:
    """Passes settled changes of joined tables on. `mapped` are the tables with documents of their own."""

    def __init__(
        self,
        coalescer: Coalescer,
        routes: Mapping[TableName, Sequence[Route]],
        *,
        mapped: Iterable[TableName],
        followed: Followed | None = None,
    ) -> None:
        self._coalescer = coalescer
        self._routes = {table: tuple(dict.fromkeys(each)) for table, each in routes.items() if each}
        self._mapped = frozenset(mapped)
        self._followed = followed
        self._leading = self._routes.keys() | (frozenset() if followed is None else followed.tables)

    def is_shown(self, table: TableName) -> bool:
        """Return whether the table has documents of its own, and is not only shown in others."""
        return table in self._mapped or table not in self._leading

    def leads_on(self, entry: Entry) -> bool:
        """Return whether documents of other rows have to be updated.

        A table with documents of its own is also read without any change, by a re-sync. A change passed on to it is not
        passed on again. Neither affects other rows.
        """
        if entry.key.table not in self._leading:
            return False
        return entry.changed or entry.key.table not in self._mapped

    async def record_changes(self, entries: Iterable[Entry]) -> None:
        """Record durably which changed rows have dependents, before the entries are settled. Raises `StoreError`."""
        if self._followed is None:
            return
        tables, keep, clock = self._followed
        changed = [entry for entry in entries if entry.key.table in tables and self.leads_on(entry)]
        if changed:
            for entry in changed:
                entry.note_stored()
            await keep([ChangedRow(entry.key, clock.next(), entry.oldest) for entry in changed])

    def pass_on(self, entry: Entry) -> None:
        """Pass the change on to the rows that show it; they hold the entry's receipts from now on."""
        if not self.leads_on(entry):
            return
        receipts = [receipt for receipt in entry.receipts if receipt.follows]
        for signal in self.signals(entry):
            target = self._coalescer.add(signal, None)
            for receipt in receipts:
                target.hold(receipt)

    def signals(self, entry: Entry) -> Iterator[Signal]:
        """Yield the signals of an entry's change for the rows that show it."""
        key = entry.key
        for route in self._routes.get(key.table, ()):
            yield route.signal(key.partition_key, key.clustering, entry.oldest)


class Reference(NamedTuple):
    """One place in a mapping that shows rows of another table.

    `on` pairs key columns of that table with columns of the mapping's own table that are known to equal them.
    `dependents` defines how the documents are found if `on` is not sufficient.
    """

    mapping: DocumentMapping
    place: str
    relation: Relation
    on: tuple[tuple[str, str], ...]
    dependents: DependentsSettings | None


def related_of(mappings: Mapping[TableName, Iterable[DocumentMapping]]) -> dict[TableName, Related]:
    """Return, for each table, everything that its mappings read in addition to its rows."""
    return {table: sum((each.related for each in several), Related()) for table, several in mappings.items()}


def references_of(mapping: DocumentMapping) -> Iterator[Reference]:
    """Yield every place in a mapping that shows rows of another table."""
    for lookup in mapping.lookups:
        yield Reference(mapping, lookup.place, lookup.relation, lookup.relation.on, lookup.settings.dependents)
    for join in mapping.joins:
        yield Reference(mapping, join.place, join.relation, join.relation.on, join.settings.dependents)
        here = dict(join.relation.on)
        for inner in join.lookups:
            on = tuple((column, here[through]) for column, through in inner.relation.on if through in here)
            yield Reference(mapping, inner.place, inner.relation, on, inner.settings.dependents)


def find_routes(mappings: Iterable[DocumentMapping], table_of: TableOf) -> list[tuple[TableName, Route]]:
    """Return the routes that can be derived from keys, each with the joined table at its start.

    Raises `ConfigError` if neither a joined row's key nor the declaration identifies the documents that show it.
    """
    found = []
    for mapping in mappings:
        base = TableName(mapping.table.keyspace, mapping.table.name)
        for reference in references_of(mapping):
            joined = reference.relation.table
            route = find_route(base, mapping.table, table_of(joined), reference.on)
            if route is not None:
                found.append((joined, route))
            elif reference.dependents is None:
                raise ConfigError(
                    f"expected dependents, as the key of {joined} does not identify the documents that show its row",
                    hint="name the documents' keyword field that holds the key, such as dependents: {field: rootOrgId}",
                    mapping=reference.place,
                )
    return found


def group_routes(found: Iterable[tuple[TableName, Route]]) -> dict[TableName, list[Route]]:
    """Return the routes grouped by the joined table at their start."""
    grouped: dict[TableName, list[Route]] = defaultdict(list)
    for table, route in found:
        grouped[table].append(route)
    return grouped
