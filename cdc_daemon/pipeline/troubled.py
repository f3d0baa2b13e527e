"""The aliases that take no writes at present, and the tables with documents under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.alias_troubles import AliasTrouble


class TroubledWriter(Protocol):
    """The part of the writer that reports aliases in trouble."""

    @property
    def troubled(self) -> bool:
        """Return whether any alias takes no writes."""
        ...

    def trouble(self, alias: str) -> AliasTrouble | None:
        """Return why an alias takes no writes, or None if no trouble is known."""
        ...

    def live_index(self, alias: str) -> str | None:
        """Return the index last seen behind an alias."""
        ...


class Troubled:
    """Reports the aliases, and so the tables, with documents that cannot be written at present.

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
        """Return whether any alias takes no writes."""
        return self._writer is not None and self._writer.troubled

    def of(self, alias: str) -> Trouble | None:
        """Return why an alias takes no writes, or None if no trouble is known."""
        if self._writer is None or (found := self._writer.trouble(alias)) is None:
            return None
        index = self._writer.live_index(alias)
        place = f"{alias} (index {index})" if index else alias
        reason = f"{found.failure.error_type}: {found.reason}"
        return Trouble("elasticsearch", f"{place} takes no writes: {reason}", alias)

    def among(self, aliases: Iterable[str]) -> dict[str, Trouble]:
        """Return the aliases among these that take no writes, each with the reason."""
        if not self.any:
            return {}
        return {alias: trouble for alias in aliases if (trouble := self.of(alias)) is not None}

    def all(self) -> dict[str, Trouble]:
        """Return every alias that takes no writes, each with the reason."""
        return self.among(self._known)

    def of_table(self, table: TableName) -> dict[str, Trouble]:
        """Return the aliases of a table that take no writes, each with the reason."""
        return self.among(self._aliases.get(table, ()))

    def whole_table(self, table: TableName) -> dict[str, Trouble]:
        """Return the reasons if all aliases of a table take no writes; empty if one does, or the table has none."""
        found = self.of_table(table)
        return found if len(found) == len(set(self._aliases.get(table, ()))) else {}

    def tables(self) -> list[TableName]:
        """Return the tables for which no alias takes writes."""
        return [table for table in self._aliases if self.whole_table(table)] if self.any else []
