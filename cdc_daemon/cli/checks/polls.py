"""The polled tables: can each be polled as it is declared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cassandra.cluster import Session

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cli.checks.finding import Finding, fail, ok
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.poll.factory import check_polled_tables, open_rows


async def check_polls(
    session: Session, schema: SchemaSource, polled: Sequence[PollSettings], shown: Sequence[TableName]
) -> AsyncIterator[Finding]:
    """Check the column, its format, the index or the buckets of each polled table, as the daemon does at its start.

    `shown` are the tables whose rows documents show. Raises `CassandraUnavailableError`.
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
    """Return the findings of polled tables that could not be checked."""
    return [fail(f"poll.{each.table}", f"{each.table} was not checked: {error.message}", error.hint) for each in polled]
