"""Rows as Cassandra answered for their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cdc_daemon.model.errors import CdcError
from cdc_daemon.model.key import Key

Row = tuple[Any, ...]
"""The values of a row in the order of the reader's columns, decoded by the driver."""


class RowState(NamedTuple):
    """What Cassandra answered for one key.

    `row` is None when there is no such row. `newest` is the newest write time among its cells in
    microseconds since epoch, or None when its table shows none. `error` is set instead of both when the
    row is there but cannot be read. `expires` are the moments (seconds since epoch) at which values of it expire, as
    far as that was asked for, and `joined_expires` is when the first of those expires that are joined to it.
    """

    row: Row | None
    newest: int | None
    error: CdcError | None = None
    expires: tuple[int, ...] = ()
    joined_expires: int | None = None


class Reading(NamedTuple):
    """The states of keys, aligned with the keys asked for, and the moment their read began.

    `columns` are the names of a row's values in their order, the key's first. `version` is that
    moment on the daemon's hybrid clock (microseconds since epoch), `began` the same on the monotonic clock
    (seconds).
    """

    version: int
    began: float
    columns: tuple[str, ...]
    states: Sequence[RowState]


class Lifetime(NamedTuple):
    """What was found out of when values of a row expire, in seconds since epoch.

    `seen` is when the first of those expires that can be read, None when there is none. `told` are moments that only
    the log has told: of a row without values, of cells of a collection before Cassandra 5.0.
    """

    key: Key
    seen: int | None
    told: tuple[int, ...]
