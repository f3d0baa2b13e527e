"""Keeps mappings up to date with their tables: added and dropped columns, extended user types, re-created tables."""

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

DETECTED_WITHIN = 10.0
"""Seconds within which a schema change is detected, with a margin."""

CHECK_INTERVAL = 1.0
"""Seconds between two checks of tables whose rows are not being read."""

MOST_RECENT = 200
"""Maximum batches of rows that are remembered for `DETECTED_WITHIN` seconds; there are seldom so many."""

ReadAgain = Callable[[Iterable[Key]], None]
"""Requests that rows are read again."""

MakeMapping = Callable[[str, MappingSettings], DocumentMapping]
"""Applies one declared mapping to the current schema. Raises `ConfigError` or `CassandraRefusedError`."""

ReplaceMappings = Callable[[TableName, Sequence[DocumentMapping]], None]
"""Replaces a table's mappings in use."""


class TableGenerations(Protocol):
    """The generations of the current tables."""

    def generation(self, name: TableName) -> str | None:
        """Return a text that changes whenever the table changes; None when there is no such table."""
        ...


class IndexFields(Protocol):
    """The fields of indices."""

    async def complete(self, alias: str, properties: Mapping[str, object], *, add: bool) -> Completion:
        """Add the missing fields to an index, or return them. Raises as all Elasticsearch code does."""
        ...


class LiveMappings:
    """The mappings in use. When a table changes, its declared mappings are applied to the new table.

    A mapping that shows all columns also shows a new column. The field of the column is first added to the index. If
    the operator defined a strict mapping for the index, the column is left out, with a warning. A mapping that no
    longer fits, such as one that names a dropped column, stays unchanged, with a warning. `server_waits` records the
    time spent waiting for Elasticsearch.
    """

    def __init__(
        self,
        settings: Mapping[str, MappingSettings],
        mappings: Mapping[TableName, Sequence[DocumentMapping]],
        *,
        schema: TableGenerations,
        make: MakeMapping,
        fields: IndexFields,
        replace: ReplaceMappings,
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
        """Update the mappings of a table to its current schema; return whether the schema has changed.

        Raises `ElasticsearchUnavailableError` if the update must be retried before anything is written.
        """
        generation = self._generation(table)
        if self._generations.get(table) == generation or generation is None or table not in self._locks:
            return False
        with self._server_waits.on("elasticsearch"):
            async with self._locks[table]:
                return await self._update_all(table, generation)

    async def _update_all(self, table: TableName, generation: str) -> bool:
        before = self._generations.get(table)
        if before == generation:
            return False
        mappings = [await self._updated(mapping) for mapping in self._mappings[table]]
        self._mappings[table] = mappings
        self._replace(table, mappings)
        self._generations[table] = generation
        return before is not None

    def _generation(self, table: TableName) -> str | None:
        """Return the generation of a table with those of its joined tables; None when there is no such table."""
        own = self._schema.generation(table)
        if own is None or table not in self._mappings:
            return own
        joined = {each for mapping in self._mappings[table] for each in self._settings[mapping.name].joined_tables}
        return " ".join([own, *(str(self._schema.generation(each)) for each in sorted(joined))])

    def has_user_types(self, table: TableName) -> bool:
        """Return whether values of a table can get new fields while its columns stay unchanged."""
        return any(
            _has_user_type(column.type)
            for mapping in self._mappings.get(table, ())
            for column in (*mapping.table.static, *mapping.table.regular)
        )

    async def _updated(self, old: DocumentMapping) -> DocumentMapping:
        declared = self._settings[old.name]
        try:
            fresh = self._make(old.name, declared)
        except (ConfigError, CassandraRefusedError) as error:
            log.warning("mapping.does_not_fit", mapping=old.name, error=str(error), hint=error.hint)
            return old
        _log_changes(old, fresh)
        completion = await self._fields.complete(
            fresh.alias, fresh.index_mapping()["properties"], add=declared.mappings is None
        )
        if completion.added:
            log.info("mapping.fields_added", mapping=old.name, index=completion.index, fields=completion.added)
        if not completion.refused:
            return fresh
        # A column that the configuration names must not be left out; one that only the table has can be.
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


def _log_changes(old: DocumentMapping, fresh: DocumentMapping) -> None:
    added = [column for column in fresh.fields if column not in old.fields]
    dropped = [column for column in old.fields if column not in fresh.fields]
    if old.table.id != fresh.table.id:
        log.info("mapping.table_created_again", mapping=old.name)
    if added or dropped:
        log.info("mapping.columns_changed", mapping=old.name, added=added, gone=dropped)


def _has_user_type(kind: CqlType) -> bool:
    return kind.name == "udt" or any(map(_has_user_type, kind.parameters))


class SchemaFollower:
    """Updates mappings and indices after each read of rows, before documents are built, and also while nothing is read.

    A change of a user type is detected with a delay. Rows that were read in the meantime are read once more.
    """

    def __init__(self, mappings: LiveMappings, *, again: ReadAgain, keys: PrimaryKeyWatch) -> None:
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
        while recent and recent[0][0] < reading.began - DETECTED_WITHIN:
            recent.popleft()

    async def run(self, interval: float = CHECK_INTERVAL) -> None:
        """Update the mappings of tables that are not read at present, every `interval` seconds, until cancelled."""
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


def read_again(coalescer: Coalescer) -> ReadAgain:
    """Return a function that requests another read of rows."""

    def again(keys: Iterable[Key]) -> None:
        receipt = Receipt(lambda: None)
        for key in keys:
            coalescer.add(Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()), receipt)
        receipt.release()

    return again
