"""Connects to the configured servers. It waits for servers that are unavailable, and logs it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import structlog
from cassandra import Unauthorized
from cassandra.cluster import Session

from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.node import NodeSettings, find_node
from cdc_daemon.cassandra.query import execute
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import ElasticsearchSettings, MappingSettings, Settings
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.routes import find_routes, related_of
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.search import ElasticsearchOptions, SearchEngine, make_engine
from cdc_daemon.sources.schema_changes.mappings import Fields, LiveMappings
from cdc_daemon.sources.schema_changes.suspended_mappings import SuspendedMappings

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SAID_AGAIN = 30.0
"""Seconds between repeated log messages about the same wait."""

Tell = Callable[[str, str | None], None]
"""Called with the server or table waited for and the error that causes the wait; None when it is available."""


def tell_nobody(_what: str, _error: str | None) -> None:
    """Ignore the report of a wait."""


async def persist(what: str, attempt: Callable[[], Awaitable[T]], *, tell: Tell = tell_nobody) -> T:
    """Retry with backoff until success. Log the error periodically, and immediately if it changes.

    Raises at once errors that no retry can fix.
    """
    backoff = Backoff(first=0.2)
    while True:
        try:
            found = await attempt()
        except CdcError as error:
            if not error.retryable:
                raise
            tell(what, str(error))
            delay = backoff.next()
            log.warning(
                "startup.waiting",
                waiting_for=what,
                error=error,
                retry_in_seconds=round(delay, 2),
                every=_SAID_AGAIN,
                every_key=f"{what}: {error}",
            )
            await asyncio.sleep(delay)
        else:
            tell(what, None)
            return found


async def connect_cassandra(settings: Settings, *, tell: Tell = tell_nobody) -> Session:
    """Connect, waiting until Cassandra is up. Raises `ConfigError`."""

    async def attempt() -> Session:
        return await asyncio.to_thread(connect, settings.cassandra)

    session = await persist("cassandra", attempt, tell=tell)
    log.info("cassandra.connected", contact_points=list(settings.cassandra.contact_points))
    return session


async def make_mappings(
    settings: Settings, schema: SchemaSource, *, held: SuspendedMappings | None = None, tell: Tell = tell_nobody
) -> dict[TableName, list[DocumentMapping]]:
    """Apply the declared mappings to the live schema, waiting for tables that do not exist yet.

    A dropped table keeps its last definition: it blocks no other table, and may be re-created. Tables of mappings in
    `held` are left out. A mapping that names a column dropped since the first replication stays unchanged, as it does
    while the daemon runs.
    Raises `ConfigError` if a mapping names a column that its table does not have.
    """

    async def attempt() -> dict[TableName, list[DocumentMapping]]:
        await schema.refresh()
        if held is not None:
            held.clear()
        found: dict[TableName, list[DocumentMapping]] = defaultdict(list)
        for name, mapping in settings.mappings.items():
            try:
                made = make_mapping(name, mapping, schema)
                find_routes([made], schema.known)
            except ConfigError as error:
                if held is not None and held.suspends(name, mapping, error):
                    continue
                earlier = (
                    _as_it_was(name, mapping, schema) if held is not None and held.was_replicated(mapping) else None
                )
                if earlier is None:
                    raise
                log.warning("mapping.does_not_fit", mapping=name, error=str(error), hint=error.hint)
                made = earlier
            found[mapping.table].append(made)
        waiting = frozenset() if held is None else held.tables
        return {table: several for table, several in found.items() if table not in waiting}

    mappings = await persist("schema", attempt, tell=tell)
    for table in read_tables(mappings) if settings.tail else ():
        if schema.generation(table) is None:
            log.warning("schema.table_dropped", table=str(table), hint="create it again, or take its mapping out")
        elif not schema.table(table).cdc:
            log.warning(
                "schema.cdc_off",
                table=str(table),
                hint=f"changes of this table are not seen: ALTER TABLE {table} WITH cdc = true",
            )
    return mappings


def make_mapping(name: str, declared: MappingSettings, schema: SchemaSource) -> DocumentMapping:
    """Apply one declared mapping to its current tables, or to dropped tables' last definitions.

    Raises `ConfigError` if it does not fit and `CassandraRefusedError` if a table never existed.
    """
    joined = {table: schema.known(table) for table in declared.joined_tables}
    return DocumentMapping(name, declared, schema.known(declared.table), joined)


def _as_it_was(name: str, declared: MappingSettings, schema: SchemaSource) -> DocumentMapping | None:
    """Apply a declared mapping to its tables including dropped columns. None if it does not fit."""
    joined = {table: schema.known(table).with_dropped() for table in declared.joined_tables}
    try:
        made = DocumentMapping(name, declared, schema.known(declared.table).with_dropped(), joined)
        find_routes([made], schema.known)
    except ConfigError:
        return None
    return made


def read_tables(mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> list[TableName]:
    """Return every table with rows shown in documents: the mappings' own tables and joined ones."""
    joined = {table for several in mappings.values() for mapping in several for table in mapping.related.tables}
    return [*mappings, *sorted(joined - mappings.keys())]


def live_mappings(
    settings: Settings,
    schema: SchemaSource,
    mappings: Mapping[TableName, Sequence[DocumentMapping]],
    *,
    documents: MappedDocuments,
    reader: JoinedRowReader,
    fields: Fields,
    waits: Waits,
) -> LiveMappings:
    """Return the updater of mappings and indices after changes of their tables."""

    def replace(table: TableName, several: Sequence[DocumentMapping]) -> None:
        reader.relate(table, related_of({table: several})[table])
        documents.replace(table, several)

    return LiveMappings(
        settings.mappings,
        mappings,
        schema=schema,
        make=partial(make_mapping, schema=schema),
        fields=fields,
        replace=replace,
        waits=waits,
    )


async def read_node_settings(session: Session, settings: Settings) -> NodeSettings:
    """Return the settings of the daemon's node, or empty ones if the daemon's role may not read them."""
    node = find_node(session, settings.cassandra.contact_points)
    try:
        rows = await execute(session, "SELECT name, value FROM system_views.settings", host=node)
    except (CdcError, Unauthorized) as error:
        log.info(
            "cassandra.settings_unknown",
            error=str(error),
            hint="the limit of cdc_raw is not shown: the daemon's role lacks SELECT on system_views",
        )
        return NodeSettings({})
    return NodeSettings({row.name: row.value for row in rows})


def connect_elasticsearch(settings: ElasticsearchSettings) -> SearchEngine:
    """Create the connections without sending anything. Raises `ConfigError`."""
    password, api_key = settings.password, settings.api_key
    return make_engine(
        ElasticsearchOptions(
            hosts=settings.hosts,
            username=settings.username,
            password=None if password is None else password.get_secret_value(),
            api_key=None if api_key is None else api_key.get_secret_value(),
            ca_file=settings.ca_file,
            verify=settings.verify_certificates,
            request_timeout=settings.request_timeout,
            connections=2 * settings.connections + 2,  # as many again while there are two indices
        )
    )
