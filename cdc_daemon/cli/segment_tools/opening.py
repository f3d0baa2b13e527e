"""What commands open before they read: the tables, and how far the daemon is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from cdc_daemon.cassandra.schema_rows import remembered_schema
from cdc_daemon.cli.segment_tools.listing import Progressed
from cdc_daemon.cli.segment_tools.output import say
from cdc_daemon.cli.segment_tools.state import DaemonState
from cdc_daemon.cli.segment_tools.tables import FixedTables, LiveTables, Tables, snapshot_tables
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError, StoreError
from cdc_daemon.telemetry.logs import silence_libraries


def quiet_logs() -> None:
    """Keep what the daemon's parts log out of standard output, and libraries out of everything."""
    silence_libraries()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def open_tables(snapshot: Path | None, settings: Settings | None) -> Iterator[Tables]:
    """Give the tables of a snapshot, or else those of the cluster that a configuration names.

    Where the cluster does not answer, those that the daemon remembers. Raises `CdcError`.
    """
    quiet_logs()
    with ExitStack() as stack:
        if snapshot is not None:
            yield snapshot_tables(snapshot)
            return
        assert settings is not None, "tables come from a snapshot or from a cluster"
        tables: Tables
        try:
            tables = stack.enter_context(LiveTables(settings))
        except CassandraUnavailableError as error:
            tables = _remembered(settings, error)
        yield tables


@contextmanager
def open_tables_if_any(snapshot: Path | None, settings: Settings | None) -> Iterator[Tables | None]:
    """Give the tables as `open_tables` does; None where there is nothing to have them from, or no answer."""
    quiet_logs()
    with ExitStack() as stack:
        tables = None
        if snapshot is not None or settings is not None:
            try:
                tables = stack.enter_context(open_tables(snapshot, settings))
            except CdcError as error:
                if snapshot is not None:
                    raise
                say(f"note: {error.message}; tables are told by their ids")
        yield tables


def _remembered(settings: Settings, error: CassandraUnavailableError) -> FixedTables:
    state = DaemonState(settings.state.directory)
    generations = state.generations() if state.exists else []
    if not generations:
        raise error
    say(f"note: {error.message}; tables are those that the daemon has seen")
    return FixedTables(remembered_schema(generations))


def progress_of_daemon(settings: Settings | None) -> Progressed | None:
    """Return how far the daemon of this configuration is; None where that is not known."""
    if settings is None:
        return None
    state = DaemonState(settings.state.directory)
    if not state.exists:
        return None
    try:
        return Progressed(state.checkpoint(), state.consumed())
    except StoreError as error:
        say(f"note: {error}; what is consumed is not known")
        return None
