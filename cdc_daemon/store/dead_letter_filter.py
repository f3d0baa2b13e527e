"""A filter for dead letters: by kind, reason, table and time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("document", "partition", "mutation", "segment")
"""Kinds of dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Conditions that must all match; None matches everything.

    `table` is a table's name, with or without its keyspace. `before` and `since` bound the time of the last
    failure, in microseconds since epoch, `since` included. `above` and `below` bound the id, both excluded: ids ascend
    in the order in which letters were stored.
    """

    kind: str | None = None
    reason: str | None = None
    table: str | None = None
    before: int | None = None
    since: int | None = None
    above: int | None = None
    below: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no condition is given."""
        return self == EVERYTHING

    def conditions(self) -> dict[str, Any]:
        """Return the given conditions by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """Return an SQL condition, and its values."""
        keyspace, _, name = (self.table or "").rpartition(".")
        parts = {
            "kind = ?": self.kind,
            "reason = ?": self.reason,
            "table_name = ?": name or None,
            "keyspace_name = ?": keyspace or None,
            "coalesce(last_at, at) < ?": self.before,
            "coalesce(last_at, at) >= ?": self.since,
            "id > ?": self.above,
            "id < ?": self.below,
        }
        given = {part: value for part, value in parts.items() if value is not None}
        return " AND ".join(given) or "1", tuple(given.values())


EVERYTHING = DeadLetterFilter()
"""Every letter."""
