"""Key-first reading: which keys changed and when, without reading values.

Nearly every mutation is one row of one table. Its table, key, clustering and time stand at its beginning, so
`_read_plain` reads them and does not read the cells. That needs a proof that nothing follows the row:

- at most as many rows are written as the row estimate says: it is `PartitionUpdate.rowCount()`, the rows of
  the B-tree that is then iterated (`PartitionUpdateSerializer.serialize`). Shadowed rows may be omitted
  (`RowAndDeletionMergeIterator`), but none is ever added;
- the estimate does not count range tombstones. But the first marker after a row must open a range. So if the bytes of
  an opening marker do not occur in the rest of the mutation, there is none. When they do occur, even by chance, the
  mutation is read cell by cell;
- without clustering columns there is at most one row, and no range can open after it.

The statistics in an update's header are those of its own rows, except when it was streamed: then they are those of
its SSTable, which may have none (`EncodingStats.NO_STATS`). Updates without statistics, with any
deletion, TTL or static row, with several rows, and mutations of several tables are read cell by cell.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.flags import (
    END_OF_PARTITION,
    EXCL_START_BOUND,
    HAS_DELETION,
    HAS_EXTENDED_FLAGS,
    HAS_ROW_ESTIMATE,
    HAS_TTL,
    INCL_START_BOUND,
    IS_MARKER,
)
from cdc_daemon.commitlog.key_update import KeyUpdate, RowKey, read_key_update
from cdc_daemon.commitlog.layout import TIMESTAMP_EPOCH, TableLayout
from cdc_daemon.commitlog.mutation import read_mutation
from cdc_daemon.commitlog.native import scan_plain
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.vint import read_vint
from cdc_daemon.model.errors import CommitLogError, MutationError, UnknownTableError

_ONE_ROW: Final = (RowKey((), deleted=False),)
_NO_BEGINNING: Final = bytes(1)
"""Matches no mutation: every mutation has updates."""
_PLAIN_UPDATE: Final = HAS_ROW_ESTIMATE << 7 | 0b1111_110
"""An update's flags and the upper seven bits of a timestamp's vint of seven bytes, the length until 2033."""
_PLAIN_TIMESTAMP: Final = (1 << 49) - 1
_NOT_PLAIN: Final = END_OF_PARTITION | IS_MARKER | HAS_TTL | HAS_DELETION | HAS_EXTENDED_FLAGS
"""A row with any of these flags is not plain."""
_opens_range: Final = re.compile(
    bytes((IS_MARKER,)) + b"[%c%c]" % (INCL_START_BOUND, EXCL_START_BOUND) + b"\0",
).search
"""Finds bytes that could be a marker that opens a range: flags, kind, high byte of the count of its values."""

_MOST_AT_ONCE: Final = 64
"""Mutations read here, one by one, before the compiled scan is tried again."""

_long_at = struct.Struct(">Q").unpack_from
_new = tuple.__new__


@dataclass(slots=True)
class KeyBatch:
    """The result of `read_keys`.

    It covers the logical positions from `start` to `end`. `mutations` counts entries that were read.
    `skipped` counts skipped partition updates: those of tables that are not wanted, those of unknown tables, and
    those that change nothing. `unknown` counts updates of unknown tables by table id. `unknown_tables` are the entries
    with such updates; their other updates were read. `problems` are entries that could not be read. Both have the
    entry's bytes in `data`.
    """

    start: int
    end: int
    updates: list[KeyUpdate] = field(default_factory=list)
    mutations: int = 0
    skipped: int = 0
    unknown: dict[bytes, int] = field(default_factory=dict)
    unknown_tables: list[UnknownTableError] = field(default_factory=list)
    problems: list[CommitLogError] = field(default_factory=list)


def read_keys(
    section: Section,
    schema: SchemaView,
    *,
    segment: str,
    from_position: int = 0,
    limit: int | None = None,
    only: Container[bytes] | None = None,
) -> KeyBatch:
    """Read the keys of every mutation in `section` from logical position `from_position` on.

    Stops after `limit` mutations. With `only`, updates of tables with other ids are skipped. Nothing is raised:
    the batch's `problems` have damage (`DamagedSegmentError`), mutations that cannot be read (`MutationError`) and
    mutations that cannot be read because of an unknown table among their updates (`UnknownTableError`).
    """
    start = max(section.resume, from_position)
    batch = KeyBatch(start, start)
    reader = _CellwiseReader(batch, schema, segment=segment, only=only)
    if scan_plain is None:
        _read_entries(batch, reader, section, segment, limit)
        return batch
    limit = limit or None
    portion = 1
    while True:
        left = None if limit is None else limit - batch.mutations
        taken, batch.end = scan_plain(section, batch.end, reader.layouts, batch.updates, left)
        batch.mutations += taken
        # Mutations that are not plain mostly come in groups.
        portion = 1 if taken else min(2 * portion, _MOST_AT_ONCE)
        left = portion if limit is None else min(portion, limit - batch.mutations)
        if not left:
            return batch
        if _read_entries(batch, reader, section, segment, left):
            return batch


def read_mutation_keys(payload: bytes, schema: SchemaView) -> tuple[list[KeyUpdate], list[bytes]]:
    """Read the keys of one kept mutation: the updates of known tables, and the ids of unknown tables.

    Raises `MutationError` when the bytes are no mutation of this schema, and `UnknownTableError` when the update
    of an unknown table hides others.
    """

    def layout_of(table_id: bytes) -> TableLayout | None:
        table = schema.get(table_id)
        return None if table is None else TableLayout.of(table)

    updates, unknown = read_mutation(payload, layout_of, read_key_update)
    return [update for update in updates if update is not None], unknown


def _read_entries(  # noqa: C901, PLR0912, PLR0915 - the hot loop: calls would cost more than what they do
    batch: KeyBatch, reader: _CellwiseReader, section: Section, segment: str, limit: int | None
) -> bool:
    """Read at most `limit` entries into the batch; return whether the section's end is reached."""
    ended = False
    layouts = reader.layouts
    unwanted = reader.unwanted
    append = batch.updates.append
    count = 0
    position = batch.end
    table_layout: TableLayout | None = None
    beginning = _NO_BEGINNING
    entries = read_entries(section, segment=segment, problems=batch.problems, from_position=position)
    for payload, position in entries:
        count += 1
        try:
            if not payload.startswith(beginning):
                # The count of a single update is one byte, and consecutive mutations mostly change one table.
                table_layout = layouts.get(payload[1:17]) if payload[0] == 1 else None
                beginning = payload[:17] if table_layout is not None else _NO_BEGINNING
                if table_layout is None and payload[:17] in unwanted:
                    batch.skipped += 1
                    if count == limit:
                        break
                    continue
            if table_layout is not None and payload[17] < 0x80:  # the key's length is a byte
                key_end = 18 + payload[17]
                (head,) = _long_at(payload, key_end)
                at = key_end + 8
                if head >> 49 == _PLAIN_UPDATE and (
                    payload.startswith(table_layout.plain_prefix, at) or table_layout.find_prefix(payload, at)
                ):
                    at += len(table_layout.plain_prefix)
                    flags = payload[at]
                    at += 1
                    plain = not flags & _NOT_PLAIN
                    rows = _ONE_ROW
                    if plain and table_layout.clustering:
                        clustering: tuple[bytes, ...]
                        fixed = table_layout.fixed_clustering
                        plain = not payload[at]  # no value is null or empty
                        at += 1
                        if fixed is not None:
                            clustering = fixed.unpack_from(payload, at)
                            at += fixed.size
                        else:
                            values = []
                            for fixed_length in table_layout.clustering:
                                length = fixed_length
                                if length is None:
                                    length = payload[at]
                                    at += 1
                                    plain = plain and length < 0x80
                                end = at + length
                                values.append(payload[at:end])
                                at = end
                            clustering = tuple(values)
                        plain = plain and _opens_range(payload, at) is None
                        rows = (_new(RowKey, (clustering, False)),)
                    if plain:
                        timestamp = (head & _PLAIN_TIMESTAMP) + TIMESTAMP_EPOCH
                        if flags & 0x04 and payload[at]:
                            delta, _ = read_vint(payload, at)
                            if delta >> 63 == 0:
                                timestamp += delta
                        append(
                            _new(
                                KeyUpdate,
                                (
                                    table_layout.table,
                                    payload[18:key_end],
                                    position,
                                    timestamp,
                                    (),
                                    None,
                                    False,
                                    rows,
                                    (),
                                ),
                            )
                        )
                        if count == limit:
                            break
                        continue
        except (IndexError, struct.error, MutationError):
            pass
        reader.read(payload, position)
        if count == limit:
            break
    else:
        position = max(position, section.end)
        ended = True
    batch.end = position
    batch.mutations += count
    return ended


class _CellwiseReader:
    """Reads, cell by cell, the mutations that the loop above cannot read."""

    def __init__(self, batch: KeyBatch, schema: SchemaView, *, segment: str, only: Container[bytes] | None) -> None:
        self.layouts: dict[bytes, TableLayout] = {}
        """Layouts of the wanted tables in this section, by table id."""
        self.unwanted: set[bytes] = set()
        """The first bytes of mutations with a single update, of an unwanted table."""
        self._batch = batch
        self._schema = schema
        self._segment = segment
        self._only = only

    def read(self, payload: bytes, position: int) -> None:
        """Append the updates of one mutation, or the reason why it cannot be read, to the batch."""
        batch = self._batch
        try:
            updates, unknown = read_mutation(payload, self._layout_of, read_key_update)
        except MutationError as error:
            error.where.update(segment=self._segment, position=position)
            batch.problems.append(error)
            return
        if unknown:
            self._note_unknown_tables(unknown, payload, position)
        batch.skipped += len(unknown)
        for update in updates:
            if update is None or not (self._only is None or update.table.id in self._only):
                batch.skipped += 1
            else:
                batch.updates.append(update._replace(position=position))

    def _note_unknown_tables(self, unknown: list[bytes], payload: bytes, position: int) -> None:
        for table_id in unknown:
            self._batch.unknown[table_id] = self._batch.unknown.get(table_id, 0) + 1
        self._batch.unknown_tables.append(
            UnknownTableError(
                "expected the id of a table in the schema, found another",
                hint="the table was created and dropped before its schema was read, so its rows no longer exist",
                data=payload,
                segment=self._segment,
                position=position,
                table_id=unknown[0].hex(),
            )
        )

    def _layout_of(self, table_id: bytes) -> TableLayout | None:
        table = self._schema.get(table_id)
        if table is None:
            return None
        table_layout = TableLayout.of(table)
        if self._only is None or table_id in self._only:
            self.layouts[table_id] = table_layout
        else:
            self.unwanted.add(b"\x01" + table_id)
        return table_layout
