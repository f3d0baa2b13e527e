"""Newer rows by an index on the timestamp column."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from cdc_daemon.cassandra.plan import quote
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.poll.asking import Asking
from cdc_daemon.sources.poll.columns import PolledColumns
from cdc_daemon.sources.poll.moment import DAY
from cdc_daemon.sources.poll.row import SeenRow

AHEAD = 2 * DAY
"""How far into the future days are queried, in microseconds: for clocks and time zones ahead of ours."""


class IndexedRows:
    """Queries a storage-attached or SASI index for all rows from a moment on, including the future.

    Any other index supports only equality: with it a column of type `date` is queried day by day.
    """

    def __init__(self, asking: Asking, columns: PolledColumns, *, ordered: bool, now: Callable[[], int]) -> None:
        assert columns.moments is not None
        self._asking = asking
        self._moments = columns.moments
        self._ordered = ordered
        self._now = now
        self._name = quote(columns.moments.column.name)

    async def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:
        """Return every row whose column is `since` or later, page by page."""
        if self._ordered:
            async for page in self._asking.rows(f"{self._name} >= ?", [self._moments.bound(since)]):
                yield page
            return
        # In steps that miss no local day, even when clocks are changed on it.
        moments = range(since, self._now() + AHEAD, DAY // 4)
        for day in dict.fromkeys(map(self._moments.bound, moments)):
            async for page in self._asking.rows(f"{self._name} = ?", [day]):
                yield page


ORDERED_INDICES = ("storageattachedindex", "sai", "sasiindex")
"""Suffixes of the names of index classes that support ranges."""


def check_index(columns: PolledColumns, indices: Sequence[tuple[str | None, str]]) -> bool:
    """Return whether a column's index supports ranges.

    `indices` are the class (None for Cassandra's own) and the target of each of the table's indices. Raises
    `ConfigError` where no index can find newer rows.
    """
    assert columns.moments is not None
    column = columns.moments.column
    place = {"table": str(columns.table), "column": column.name}
    kinds = [kind for kind, target in indices if target.strip('"') == column.name]
    if not kinds:
        raise ConfigError(
            "expected an index on the column, found none",
            hint=f"CREATE INDEX ON {columns.table} ({quote(column.name)}) USING 'sai'; or strategy: scan",
            **place,
        )
    if any(kind is not None and kind.rpartition(".")[2].lower() in ORDERED_INDICES for kind in kinds):
        if not columns.moments.sortable:
            raise ConfigError(
                "expected a column whose index answers ranges, found a text",
                hint="use strategy: scan, which reads the text of each row",
                **place,
            )
        return True
    if column.type.name != "date":
        raise ConfigError(
            f"expected an index that answers ranges, found one for equality only, on a {column.type}",
            hint="use an index USING 'sai', or a column of type date, or strategy: scan",
            **place,
        )
    return False
