"""Mappings that follow their tables: added and dropped columns, extended user types, re-created tables."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, ConfigError
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.server_waits import ServerWaits
from cdc_daemon.search.indices import Completion
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch

log = structlog.get_logger(__name__)

NOTICED_WITHIN = 10.0
"""Seconds within which a schema change is noticed, with a margin."""

LOOK_INTERVAL = 1.0
"""Seconds between two checks of tables that nobody reads."""

MOST_RECENT = 200
"""Batches of rows that are remembered for that long; there are seldom so many."""

Again = Callable[[Iterable[Key]], None]
"""Requests that rows are read again."""

Make = Callable[[str, MappingSettings], DocumentMapping]
"""Checks one declared mapping against the live schema. Raises `ConfigError`, or `CassandraRefusedError`."""

Replace = Callable[[TableName, Sequence[DocumentMapping]], None]
"""Replaces the mappings of a table that are in use."""


class Generations(Protocol):
    """The current tables."""

    def generation(self, name: TableName) -> str | None:
        """Return a text that changes whenever the table changes; None when there is no such table."""
        ...


class Fields(Protocol):
    """The fields of indices."""

    async def complete(self, alias: str, properties: Mapping[str, object], *, add: bool) -> Completion:
        """Add the missing fields to an index, or return them. Raises as all Elasticsearch code does."""
        ...


class LiveMappings:
    """Checks the declared mappings against their tables again whenever the tables have changed.

    A new column is shown where a mapping shows all columns. Its field is added to the index first. Where the index's
    mapping is the operator's own, and strict, the column is left out and that is logged. A mapping that no longer fits,
    because it names a dropped column, stays as it is; that is logged as well.
    `server_waits` is called while Elasticsearch is waited for.
    """

    def __init__(
        self,
        settings: Mapping[str, MappingSettings],
        mappings: Mapping[TableName, Sequence[DocumentMapping]],
        *,
        schema: Generations,
        make: Make,
        fields: Fields,
        replace: Replace,
        server_waits: ServerWaits | None = None,
    ) -> None:
        self._settings = settings
        self._mappings = {table: list(several) for table, several in mappings.items()}
        self._schema = schema
        self._make = make
        self._fields = fields
        self._replace = replace
        self._server_waits = server_waits or ServerWaits()
        self._generations: dict[TableName, str | None] = {}
        self._locks = {table: asyncio.Lock() for table in mappings}

    async def follow(self, table: TableName) -> bool:
        """Update a table's mappings to the current table; return whether the table has changed since they were made.

        Raises `ElasticsearchUnavailableError` where the update must be retried before anything is written.
        """
        generation = self._generation(table)
        if self._generations.get(table) == generation or generation is None or table not in self._locks:
            return False
        with self._server_waits.on("elasticsearch"):
            async with self._locks[table]:
                return await self._renew_all(table, generation)

    async def _renew_all(self, table: TableName, generation: str) -> bool:
        before = self._generations.get(table)
        if before == generation:
            return False
        mappings = [await self._renew(mapping) for mapping in self._mappings[table]]
        self._mappings[table] = mappings
        self._replace(table, mappings)
        self._generations[table] = generation
        return before is not None

    def _generation(self, table: TableName) -> str | None:
        """Return a text that identifies the generation of a table and of those joined to it; None without the table."""
        own = self._schema.generation(table)
        if own is None or table not in self._mappings:
            return own
        joined = {each for mapping in self._mappings[table] for each in self._settings[mapping.name].joined_tables}
        return " ".join([own, *(str(self._schema.generation(each)) for each in sorted(joined))])

    def has_user_types(self, table: TableName) -> bool:
        """Return whether values of a table may gain fields without a change of its columns."""
        return any(
            _has_user_type(column.type)
            for mapping in self._mappings.get(table, ())
            for column in (*mapping.table.static, *mapping.table.regular)
        )

    async def _renew(self, old: DocumentMapping) -> DocumentMapping:
        declared = self._settings[old.name]
        try:
            fresh = self._make(old.name, declared)
        except (ConfigError, CassandraRefusedError) as error:
            log.warning("mapping.does_not_fit", mapping=old.name, error=str(error), hint=error.hint)
            return old
        _say_changes(old, fresh)
        completion = await self._fields.complete(
            fresh.alias, fresh.index_mapping()["properties"], add=declared.mappings is None
        )
        if completion.added:
            log.info("mapping.fields_added", mapping=old.name, index=completion.index, fields=completion.added)
        if not completion.refused:
            return fresh
        # Columns named in the configuration must be there; columns that come with the table can be left out.
        columns = {column for column, field in fresh.fields.items() if field in completion.refused}
        named = {*declared.fields, *declared.json_text, *declared.dates}
        left_out = set() if declared.include is not None else columns - named
        log.warning(
            "mapping.columns_left_out" if left_out else "mapping.fields_missing",
            mapping=old.name,
            index=completion.index,
            columns=sorted(left_out or columns),
            fields=completion.refused,
            hint="the index's mapping is strict and has no such field: add it and restart, or exclude the column",
        )
        if not left_out:
            return fresh
        return self._make(
            old.name, declared.model_copy(update={"exclude": (*(declared.exclude or ()), *sorted(left_out))})
        )


def _say_changes(old: DocumentMapping, fresh: DocumentMapping) -> None:
    added = [column for column in fresh.fields if column not in old.fields]
    gone = [column for column in old.fields if column not in fresh.fields]
    if old.table.id != fresh.table.id:
        log.info("mapping.table_created_again", mapping=old.name)
    if added or gone:
        log.info("mapping.columns_changed", mapping=old.name, added=added, gone=gone)


def _has_user_type(kind: CqlType) -> bool:
    return kind.name == "udt" or any(map(_has_user_type, kind.parameters))


class SchemaFollower:
    """Updates mappings and indices after a read of rows, and while nobody reads, before documents are built.

    A user type may change a moment before the change is noticed; rows that were read in between are read once more.
    """

    def __init__(self, mappings: LiveMappings, *, again: Again, keys: PrimaryKeyWatch) -> None:
        self._mappings = mappings
        self._again = again
        self._keys = keys
        self._recent: dict[TableName, deque[tuple[float, Sequence[Key]]]] = {}

    async def update(self, table: TableName, keys: Sequence[Key], reading: Reading) -> None:
        """Update a table's mappings after a read of rows; see `MappingUpdater`."""
        await self._follow(table)
        recent = self._recent.get(table)
        if recent is None:
            recent = self._recent[table] = deque(maxlen=MOST_RECENT if self._mappings.has_user_types(table) else 0)
        recent.append((reading.began, keys))
        while recent and recent[0][0] < reading.began - NOTICED_WITHIN:
            recent.popleft()

    async def run(self, interval: float = LOOK_INTERVAL) -> None:
        """Update the mappings of tables that nobody reads at present, every `interval` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                for table in list(self._recent):
                    await self._follow(table)
            except CdcError as error:
                log.warning("mapping.not_followed", error=str(error), hint=error.hint, every=60)

    async def _follow(self, table: TableName) -> None:
        self._keys.check(table)
        if await self._mappings.follow(table) and (recent := self._recent.pop(table, None)):
            self._again({key for _, several in recent for key in several})


def read_again(coalescer: Coalescer) -> Again:
    """Return a function that requests a new read of rows that were just written."""

    def again(keys: Iterable[Key]) -> None:
        receipt = Receipt(lambda: None)
        for key in keys:
            coalescer.add(Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()), receipt)
        receipt.release()

    return again
