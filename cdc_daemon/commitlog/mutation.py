"""Split a mutation's bytes into partition updates, also with unknown tables among them, and decode them fully.

The updates of a mutation follow each other without their lengths, so the end of an unknown table's update is not
visible. But all updates of a mutation have the same partition key, with the same bytes, right after their table ids.
So when the id of a known table and that key do not occur in the rest, the rest has no update of a known table. When
they do occur, and the bytes from there read exactly to the mutation's end, the next update is found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final, Generic, TypeVar

from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.layout import TABLE_ID_SIZE, TableLayout
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.commitlog.update_decoder import UpdateDecoder
from cdc_daemon.commitlog.vint import read_vint
from cdc_daemon.model.errors import CommitLogError, MutationError, UnknownTableError

Update = TypeVar("Update")
UpdateReader = Callable[[bytes, int, TableLayout], tuple[Update, int]]
"""Reads one update after its table id; returns it and the position after it."""
LayoutOf = Callable[[bytes], TableLayout | None]
"""Returns the layout of a table by its id; None for an unknown table."""

SHORT_INPUT: Final = (IndexError, OverflowError, struct.error)
"""Raised on reading past the end of the bytes, and by the compiled modules for a number out of their range."""

UNREADABLE: Final = (MutationError, *SHORT_INPUT)
"""Raised for bytes that are not an update of their table."""

_ONE_UPDATE: Final = b"\x01"
"""First byte of a mutation with one update, before the table's id."""
_BEHIND_ID: Final = len(_ONE_UPDATE) + TABLE_ID_SIZE


def read_mutation(payload: bytes, layout_of: LayoutOf, read: UpdateReader[Update]) -> tuple[list[Update], list[bytes]]:
    """Read the updates of known tables, and the ids of the unknown tables.

    Raises `MutationError` when the bytes are no mutation of this schema, and `UnknownTableError` when
    the update of an unknown table hides others that cannot be found. The error's `data` is `payload`.
    """
    try:
        count, position = read_vint(payload, 0)
        updates, unknown = _Reading(payload, layout_of, read).updates(position, count)
    except MutationError as error:
        error.data = payload
        raise
    except SHORT_INPUT as error:
        raise MutationError("expected an update to end within its mutation", data=payload) from error
    except RecursionError as error:
        raise UnknownTableError("expected known tables, found too many unknown ones", data=payload) from error
    if not unknown and len(updates) != count:
        raise MutationError(f"expected a mutation of {count} updates, found {len(updates)}", data=payload)
    return updates, unknown


class _Reading(Generic[Update]):
    """Reads one mutation; records the positions that failed, so that none is tried twice."""

    def __init__(self, payload: bytes, layout_of: LayoutOf, read: UpdateReader[Update]) -> None:
        self._payload = payload
        self._layout_of = layout_of
        self._read = read
        self._failed: dict[int, int] = {}
        """Number of updates with which each position was tried and failed."""

    def updates(self, position: int, count: int) -> tuple[list[Update], list[bytes]]:
        """Read at most `count` updates from `position` exactly to the mutation's end."""
        payload = self._payload
        updates: list[Update] = []
        unknown: list[bytes] = []
        end = len(payload)
        key = _serialised_key(payload, position)
        while count and position < end:
            start = position + TABLE_ID_SIZE
            table_id = payload[position:start]
            if not payload.startswith(key, start):
                raise MutationError("expected every update of a mutation to have the same partition key")
            table_layout = self._layout_of(table_id)
            if table_layout is None:
                unknown.append(table_id)
                if count > 1:
                    more, others = self._find_again(start, key, count - 1)
                    updates += more
                    unknown += others
                return updates, unknown
            update, position = self._read(payload, start, table_layout)
            updates.append(update)
            count -= 1
        if position != end:
            raise MutationError(f"expected the mutation to end at byte {position}, found {end} bytes")
        return updates, unknown

    def _find_again(self, start: int, key: bytes, count: int) -> tuple[list[Update], list[bytes]]:
        """Find and read the updates after that of an unknown table, which has its key at `start`."""
        payload = self._payload
        candidates = 0
        found = payload.find(key, start + len(key) + TABLE_ID_SIZE)
        while found >= 0:
            position = found - TABLE_ID_SIZE
            if self._layout_of(payload[position:found]) is not None:
                candidates += 1
                if self._failed.get(position, 0) < count:
                    try:
                        return self.updates(position, count)
                    except UNREADABLE:
                        self._failed[position] = count
            found = payload.find(key, found + 1)
        if candidates:
            raise UnknownTableError(
                f"expected known tables, found an update of {payload[start - TABLE_ID_SIZE : start].hex()}"
                f" before {count} others that cannot be distinguished from it",
                hint="give a schema that has the table, even if it was dropped since",
            )
        return [], []


def _serialised_key(payload: bytes, position: int) -> bytes:
    """Return the partition key of the update at `position`, with the vint of its length."""
    start = position + TABLE_ID_SIZE
    length, begin = read_vint(payload, start)
    if begin + length >= len(payload):
        raise MutationError(f"expected a partition key of {length} bytes, found the mutation's end")
    return payload[start : begin + length]


def read_updates(
    section: Section,
    schema: SchemaView,
    *,
    segment: str,
    problems: list[CommitLogError],
    unknown: dict[bytes, int] | None = None,
    from_position: int = 0,
    only: Container[bytes] | None = None,
) -> Iterator[PartitionUpdate]:
    """Yield every partition update in `section` from logical position `from_position` on.

    With `only`, updates of tables with other ids are left out. Damage (`DamagedSegmentError`) and mutations that
    cannot be read (`MutationError`, `UnknownTableError`) are appended to `problems`, with their bytes in `data`.
    Updates of unknown tables are counted in `unknown` by table id.
    """
    reader = _MutationDecoder(section, schema, segment, problems, unknown)
    for payload, position in read_entries(section, segment=segment, problems=problems, from_position=from_position):
        for update in reader.read(payload, position):
            if only is None or update.table.id in only:
                yield update


class _MutationDecoder:
    """Decodes mutations of one section."""

    def __init__(
        self,
        section: Section,
        schema: SchemaView,
        segment: str,
        problems: list[CommitLogError],
        unknown: dict[bytes, int] | None,
    ) -> None:
        self._decoder = UpdateDecoder(section.version)
        self._schema = schema
        self._segment = segment
        self._problems = problems
        self._unknown = unknown
        self._layouts: dict[bytes, TableLayout] = {}
        """Layouts of the tables in this section, by the first bytes of mutations with a single update of the table."""

    def read(self, payload: bytes, position: int) -> Sequence[PartitionUpdate]:
        """Return the updates of the mutation with its entry's end at `position`; record what cannot be read."""
        # Nearly every mutation is a single update of a known layout. All others are handled, or refused, below.
        table_layout = self._layouts.get(payload[:_BEHIND_ID])
        if table_layout is not None:
            try:
                update, end = self._decoder.update(payload, _BEHIND_ID, table_layout, position)
                if end == len(payload):
                    return (update,)
            except UNREADABLE:
                pass
        try:
            updates, strangers = read_mutation(payload, self._layout_of, self._decoder.update)
        except MutationError as error:
            error.where.update(segment=self._segment, position=position)
            self._problems.append(error)
            return ()
        if self._unknown is not None:
            for table_id in strangers:
                self._unknown[table_id] = self._unknown.get(table_id, 0) + 1
        return [update._replace(position=position) for update in updates]

    def _layout_of(self, table_id: bytes) -> TableLayout | None:
        table = self._schema.get(table_id)
        if table is None:
            return None
        table_layout = self._layouts[_ONE_UPDATE + table_id] = TableLayout.of(table)
        return table_layout
