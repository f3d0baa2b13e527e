"""Rows of a table that is altered, dropped or re-created while it is polled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from cdc_daemon.cassandra.plan import ReadPlan
from cdc_daemon.sources.poll.row import RowSource, SeenRow


class FollowingRows:
    """Queries the current table: the row source is rebuilt when the table has changed.

    `plan` returns how the table is read, the same object while the table is unchanged; `make` builds the row source
    from it.
    """

    def __init__(self, plan: Callable[[], ReadPlan], make: Callable[[ReadPlan], Awaitable[RowSource]]) -> None:
        self._plan = plan
        self._make = make
        self._made: tuple[ReadPlan, RowSource] | None = None

    async def source(self) -> RowSource:
        """Return the row source.

        Raises `ConfigError` where the table cannot be polled as declared, `CassandraUnavailableError`, and
        `CassandraRefusedError` where there is no such table.
        """
        plan = self._plan()
        if self._made is None or self._made[0] is not plan:
            self._made = plan, await self._make(plan)
        return self._made[1]

    async def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:
        """Return the rows of the current table's source. Raises as `source` does, too."""
        source = await self.source()
        async for page in source.pages(since):
            yield page
