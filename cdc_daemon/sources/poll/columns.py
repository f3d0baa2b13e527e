"""The columns selected from a table to detect its changes, and rows made of the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdc_daemon.cassandra.plan import ReadPlan, quote
from cdc_daemon.commitlog.table import Column, TableMetadata
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.key import Key
from cdc_daemon.model.suggestion import nearest_hint
from cdc_daemon.sources.poll.moment import ColumnMoments
from cdc_daemon.sources.poll.row import SeenRow


class PolledColumns:
    """The key's columns, the timestamp column, and the write times that show a row's change.

    A row is dated by its timestamp column and the write time of that column. A row with null in the column, or a value
    that is not a moment, is dated by the write times of all its columns; so is every row where no column is declared.
    An index does not find rows without a value, so nothing more is read for the rows that it finds.

    Raises `ConfigError` where the column does not exist or cannot hold a moment.
    """

    def __init__(self, plan: ReadPlan, settings: PollSettings) -> None:
        self.plan = plan
        self.table = settings.table
        self.moments: ColumnMoments | None = None
        others = list(plan.write_times)
        self._own = 0
        if settings.column is not None:
            column = find_column(plan.table, settings.column, settings)
            self.moments = ColumnMoments(column, settings)
            regular = column.kind == "regular"
            own = [f"WRITETIME({quote(column.name)})"] if regular else []
            instead = [time for time in others if time not in own] if regular and settings.strategy != "index" else []
            others = [self.moments.expression, *own, *instead]
            self._own = 1 + len(own)
        self.others = tuple(others)

    def row(self, key: Key, values: Sequence[Any]) -> SeenRow:
        """Return a row by its key and the values of `others`."""
        moment = None if self.moments is None else self.moments.latest(values[0])
        if self.moments is None:
            times = values
        elif moment is None:
            times = values[1:]
        else:
            times = values[1 : self._own]
        return SeenRow(key, moment, max((time for time in times if time is not None), default=None))


def find_column(table: TableMetadata, name: str, settings: PollSettings) -> Column:
    """Return a key or regular column by its name. Raises `ConfigError` where there is none."""
    columns = {column.name: column for column in (*table.partition_key, *table.clustering, *table.regular)}
    if name not in columns:
        static = any(column.name == name for column in table.static)
        raise ConfigError(
            f"expected a column of each row, found {name}, which is static"
            if static
            else f"expected a column of {settings.table}, found {name!r}",
            hint=nearest_hint(name, columns),
            table=str(settings.table),
        )
    return columns[name]
