"""A polled row: its key, and when it was changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from cdc_daemon.model.key import Key


class SeenRow(NamedTuple):
    """A row's key and the times of its last change, in microseconds since epoch.

    `moment` is the last one that its timestamp column covers, `written` its write time; None where it has none.
    """

    key: Key
    moment: int | None
    written: int | None

    @property
    def changed(self) -> int:
        """The moment by which the change had happened, as far as the row shows; 0 where it has no time."""
        return max(self.moment or 0, self.written or 0)


class RowSource(Protocol):
    """Rows that may have been changed since a moment."""

    def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:
        """Return, page by page, every row changed at `since` or later (microseconds since epoch), and maybe others.

        Raises `CassandraUnavailableError` and `CassandraRefusedError`.
        """
        ...
