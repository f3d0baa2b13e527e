"""Applies the declared mappings to the current tables, without the mappings that must wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cdc_daemon.app.startup import Tell, make_mappings, read_tables
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch
from cdc_daemon.sources.schema_changes.suspended_mappings import (
    SuspendedMapping,
    SuspendedMappings,
    reset_rekeyed_tables,
)
from cdc_daemon.store import Store


class LaidMappings(NamedTuple):
    """Mappings that fit their tables, settings for these only, and the mappings left out.

    `shown` are the tables with rows shown in documents; `keys` monitors their primary keys. `held_types` are the
    mappings left out, with the reason.
    """

    settings: Settings
    mappings: dict[TableName, list[DocumentMapping]]
    shown: Sequence[TableName]
    keys: PrimaryKeyWatch
    held: Sequence[SuspendedMapping]
    held_tables: frozenset[TableName]
    held_types: Mapping[str, str]


async def lay_mappings(settings: Settings, schema: SchemaSource, store: Store, *, tell: Tell) -> LaidMappings:
    """Apply the mappings to the live schema, waiting for tables that do not exist yet.

    Raises `StoreError`, and `ConfigError` for a mapping that has never fitted its table.
    """
    holding = await SuspendedMappings.load(store, schema, settings)
    mappings = await make_mappings(settings, schema, held=holding, tell=tell)
    holding.log_all()
    await asyncio.to_thread(reset_rekeyed_tables, settings, schema, store, suspended=holding.tables)
    shown = read_tables(mappings)
    return LaidMappings(
        holding.without(settings),
        mappings,
        shown,
        PrimaryKeyWatch(
            {table: schema.known(table) for table in shown}, schema, suspended=holding.watched_tables(settings)
        ),
        tuple(holding.found),
        holding.tables,
        holding.object_types(settings),
    )
