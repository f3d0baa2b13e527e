"""The mappings and the polled tables, checked against the live schema as the daemon checks them when it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial

from cassandra.cluster import Session

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.table import TableMetadata
from cdc_daemon.config import MappingSettings
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.pipeline.routing import find_routes
from cdc_daemon.search.searched_field import find_field
from cdc_daemon.sources.poll.factory import check_polled_tables, open_rows


def check_mappings(
    schema: Schema, mappings: Mapping[str, MappingSettings], *, validate: Callable[[DocumentMapping], object] = id
) -> tuple[list[Finding], dict[str, DocumentMapping]]:
    """Check each mapping whose tables exist: its columns, expressions, joins, lookups, dependents and hook.

    `validate` is called with each mapping that fits, and may raise `ConfigError`. Returns the findings, and the
    mappings that fit the schema, by name.
    """
    findings: list[Finding] = []
    fitting: dict[str, DocumentMapping] = {}
    for name, declared in mappings.items():
        table = schema.find(*declared.table)
        joined = {each: found for each in declared.joined_tables if (found := schema.find(*each)) is not None}
        if table is None or len(joined) < len(declared.joined_tables):
            continue
        try:
            mapping = DocumentMapping(name, declared, table, joined)
            _check_dependents(name, declared, mapping)
            find_routes([mapping], partial(_table, schema))
            validate(mapping)
        except ConfigError as error:
            place = error.where.get("mapping", name)
            findings.append(fail(f"mapping.{name}", f"{place}: {error.message}", error.hint))
        else:
            fields = len(mapping.index_mapping()["properties"])
            findings.append(ok(f"mapping.{name}", f"the mapping fits the schema; a document has {fields} fields"))
            findings += _warn_of_maps(mapping)
            fitting[name] = mapping
    return findings, fitting


def _table(schema: Schema, name: TableName) -> TableMetadata:
    found = schema.find(*name)
    assert found is not None, "only mappings whose tables exist are checked"
    return found


def _warn_of_maps(mapping: DocumentMapping) -> Iterator[Finding]:
    """Warn of joins with form: map in which several children may have the same entry name."""
    for join in mapping.joins:
        if join.ambiguous:
            yield warn(
                f"mapping.{join.place}",
                f"rows of {join.settings.table} may have the same {join.settings.key}; the map shows only the last",
                "use form: list, or a key column with different values; or set order to choose which row is the last",
            )


def _check_dependents(name: str, declared: MappingSettings, mapping: DocumentMapping) -> None:
    """Raise `ConfigError` if the index that the daemon would create lacks a field that dependents are searched by."""
    if declared.mappings is not None:
        return
    made = mapping.index_mapping()
    for field in sorted(declared.dependents_fields):
        if not find_field(made, field).answers:
            raise ConfigError(
                f"expected a field of the documents in dependents, found {field!r}",
                hint=nearest_hint(field, made["properties"]),
                mapping=name,
            )


async def check_polls(
    session: Session, schema: SchemaSource, polled: Sequence[PollSettings], shown: Sequence[TableName]
) -> AsyncIterator[Finding]:
    """Check the column, its format, and the index or the buckets of each polled table, as the daemon does at its start.

    `shown` are the mapped and joined tables. Raises `CassandraUnavailableError`.
    """
    for settings in polled:
        name = f"poll.{settings.table}"
        try:
            check_polled_tables([settings], shown)
            await open_rows(session, schema, settings, schema.plan(settings.table))
        except CassandraRefusedError as error:
            yield fail(name, f"{settings.table} cannot be polled: {error.message}", error.hint)
        except ConfigError as error:
            yield fail(name, error.message, error.hint)
        else:
            by = settings.column or "the write times of its columns"
            yield ok(name, f"{settings.table} can be polled by {by} ({settings.strategy})")


def unreachable(polled: Sequence[PollSettings], error: CdcError) -> list[Finding]:
    """Return findings for polled tables that could not be checked."""
    return [fail(f"poll.{each.table}", f"{each.table} was not checked: {error.message}", error.hint) for each in polled]
