"""Problems on standard error, a bounded number of them, and all of them counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from cdc_daemon.cli.segment_tools.output import say
from cdc_daemon.cli.segment_tools.progress import Progress
from cdc_daemon.model.errors import CdcError

_SHOWN: Final = 100
_TABLES_NAMED: Final = 10
_ID_SIZE: Final = 16
_FROM_NAME: Final = 3
"""The version of a UUID that is a hash of a name (RFC 9562)."""


class Report:
    """Says problems as they are found; `count` is how many there were."""

    def __init__(self, progress: Progress) -> None:
        self.count = 0
        self._progress = progress

    def problem(self, error: CdcError) -> None:
        """Print a problem, unless too many were printed already."""
        self.count += 1
        if self.count <= _SHOWN:
            self._progress.clear()
            say(f"error: {error}")

    def end(self, unknown: Mapping[bytes, int]) -> None:
        """Print how many problems were not printed, and which updates were left out because their table is unknown."""
        self._progress.clear()
        if self.count > _SHOWN:
            say(f"error: and {self.count - _SHOWN} more problems")
        named = {table: count for table, count in unknown.items() if not is_own(table)}
        own = sum(unknown.values()) - sum(named.values())
        if named:
            say(f"note: left out updates of tables that the schema does not have: {_spell(named)}")
        if own:
            say(f"note: left out {own} updates of Cassandra's own tables, which the schema does not have either")


def is_own(table_id: bytes) -> bool:
    """Return whether a table is Cassandra's own. Such ids are made from names (`TableId.forSystemTable`)."""
    return len(table_id) == _ID_SIZE and UUID(bytes=table_id).version == _FROM_NAME


def _spell(counts: Mapping[bytes, int]) -> str:
    most = sorted(counts.items(), key=lambda each: -each[1])
    text = ", ".join(f"{UUID(bytes=table)} ({count})" for table, count in most[:_TABLES_NAMED])
    return f"{text} and {len(most) - _TABLES_NAMED} more" if len(most) > _TABLES_NAMED else text
