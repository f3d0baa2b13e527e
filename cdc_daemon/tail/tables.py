"""Which tables a portion speaks of, and when to ask for the schema once more."""

from __future__ import annotations

from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.errors import DamagedSegmentError
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.tail.follower import Portion
from cdc_daemon.tail.ports import SchemaProvider
from cdc_daemon.tail.signals import WantedTables

_REMEMBERED = 10_000
"""Questions remembered; beyond that all are forgotten, which costs one more refresh each."""


class TableKnowledge:
    """The schema at hand, the wanted tables in it, and what it was refreshed for already.

    A table that was created, or a column that was added, a moment ago is in the log before anybody has told us.
    So each table id that is not known, and each way in which mutations cannot be read, is a reason to refresh
    the schema once. What is still not understood after that never will be.
    """

    def __init__(self, provider: SchemaProvider, mapped: frozenset[TableName]) -> None:
        self._provider = provider
        self._mapped = mapped
        self._asked: set[bytes | str] = set()
        self._schema = provider.current
        self.wanted = WantedTables(self._schema, mapped)

    @property
    def schema(self) -> SchemaView:
        """The schema as known now."""
        current = self._provider.current
        if current is not self._schema:
            self._schema = current
            self.wanted = WantedTables(current, self._mapped)
        return current

    def questions(self, portion: Portion) -> set[bytes | str]:
        """Return what in a portion may be understood with a newer schema and was not asked for yet."""
        asked: set[bytes | str] = set(portion.unknown)
        asked.update(problem.message for problem in portion.problems if not isinstance(problem, DamagedSegmentError))
        return asked - self._asked

    async def ask(self, questions: set[bytes | str]) -> None:
        """Refresh the schema for the sake of these questions. Raises what the provider raises."""
        await self._provider.refresh()
        if len(self._asked) > _REMEMBERED:
            self._asked.clear()
        self._asked |= questions
