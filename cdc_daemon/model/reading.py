"""Rows as Cassandra returned them for their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cdc_daemon.model.errors import CdcError
from cdc_daemon.model.signal import Key

Row = tuple[Any, ...]
"""The values of a row in the order of the reader's columns, decoded by the driver."""


class RowState(NamedTuple):
    """Cassandra's answer for one key.

    `row` is None if there is no such row. `newest` is the newest write time among its cells in
    microseconds since epoch, or None if its table shows none. `error` is set instead of both if the
    row exists but cannot be read. `expires` are the times (seconds since epoch) at which its values expire, if
    requested, and `joined_expires` is the earliest time at which a value joined to it expires.
    """

    row: Row | None
    newest: int | None
    error: CdcError | None = None
    expires: tuple[int, ...] = ()
    joined_expires: int | None = None


class Reading(NamedTuple):
    """The states of keys, aligned with the requested keys, and the time their read began.

    `columns` are the names of a row's values in their order, the key's first. `version` is that
    time on the daemon's hybrid clock (microseconds since epoch), `began` the same on the monotonic clock
    (seconds).
    """

    version: int
    began: float
    columns: tuple[str, ...]
    states: Sequence[RowState]


class Lifetime(NamedTuple):
    """The known expiry times of a row's values, in seconds since epoch.

    `seen` is the earliest expiry of the values that can be read, None if there is none. `logged` are times known only
    from the log: those of a row without values, and of cells of a collection before Cassandra 5.0.
    """

    key: Key
    seen: int | None
    logged: tuple[int, ...]
