"""Finds the routes from joined rows to documents, for the declared mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.mapping import DependentsSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.document.related import Related, Relation
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.routing import Route, find_route

TableOf = Callable[[TableName], TableMetadata]


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
                    f"expected dependents, as the key of {joined} does not tell which documents show its row",
                    hint="name the documents' keyword field that holds the key, such as dependents: {field: rootOrgId}",
                    mapping=reference.place,
                )
    return found
