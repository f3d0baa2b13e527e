"""Which aliases take no writes at present, and which tables' documents that concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from cdc_daemon.model.signal import TableName
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.search.alias_troubles import AliasTrouble


class TroubledWriter(Protocol):
    """The writer, as far as it knows of the trouble of aliases."""

    @property
    def troubled(self) -> bool:
        """Whether any alias takes no writes."""
        ...

    def trouble(self, alias: str) -> AliasTrouble | None:
        """Return why an alias takes no writes, or None where it is believed to take them."""
        ...

    def live_index(self, alias: str) -> str | None:
        """Return the index that was last seen behind an alias."""
        ...


class Troubled:
    """Tells which aliases, and so which tables' documents, cannot be written at present.

    `aliases` are those that each table feeds. Without a writer no alias is ever in trouble. Nothing here does I/O.
    """

    def __init__(
        self,
        writer: TroubledWriter | None = None,
        aliases: Mapping[TableName, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self._writer = writer
        self._aliases = aliases
        self._known = frozenset(alias for several in aliases.values() for alias in several)

    @property
    def any(self) -> bool:
        """Whether any alias takes no writes."""
        return self._writer is not None and self._writer.troubled

    def of(self, alias: str) -> Trouble | None:
        """Return why an alias takes no writes, or None where it is believed to take them."""
        if self._writer is None or (found := self._writer.trouble(alias)) is None:
            return None
        index = self._writer.live_index(alias)
        place = f"{alias} (index {index})" if index else alias
        reason = f"{found.failure.error_type}: {found.reason}"
        return Trouble("elasticsearch", f"{place} takes no writes: {reason}", alias)

    def among(self, aliases: Iterable[str]) -> dict[str, Trouble]:
        """Return those of these aliases that take no writes, and why."""
        if not self.any:
            return {}
        return {alias: trouble for alias in aliases if (trouble := self.of(alias)) is not None}

    def all(self) -> dict[str, Trouble]:
        """Return every alias that takes no writes, and why."""
        return self.among(self._known)

    def of_table(self, table: TableName) -> dict[str, Trouble]:
        """Return those of a table's aliases that take no writes, and why."""
        return self.among(self._aliases.get(table, ()))

    def whole_table(self, table: TableName) -> dict[str, Trouble]:
        """Return why none of a table's aliases takes writes; empty where one does, or the table has none."""
        found = self.of_table(table)
        return found if len(found) == len(set(self._aliases.get(table, ()))) else {}

    def tables(self) -> list[TableName]:
        """Return the tables none of whose aliases takes writes."""
        return [table for table in self._aliases if self.whole_table(table)] if self.any else []
