"""Full decoding of a section's mutations, one partition update after another."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from cdc_daemon.commitlog.decoder import Decoder
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.layout import TABLE_ID_SIZE, TableLayout
from cdc_daemon.commitlog.mutation import UNREADABLE, read_mutation
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.model.errors import CommitLogError, MutationError

_ONE_UPDATE = b"\x01"
"""First byte of a mutation with one update, before the table's id."""
_BEHIND_ID = len(_ONE_UPDATE) + TABLE_ID_SIZE


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
    reader = _MutationReader(section, schema, segment, problems, unknown)
    for payload, position in read_entries(section, segment=segment, problems=problems, from_position=from_position):
        for update in reader.read(payload, position):
            if only is None or update.table.id in only:
                yield update


class _MutationReader:
    """Decodes mutations of one section."""

    def __init__(
        self,
        section: Section,
        schema: SchemaView,
        segment: str,
        problems: list[CommitLogError],
        unknown: dict[bytes, int] | None,
    ) -> None:
        self._decoder = Decoder(section.version)
        self._schema = schema
        self._segment = segment
        self._problems = problems
        self._unknown = unknown
        self._layouts: dict[bytes, TableLayout] = {}
        """Layouts of the tables met, by how mutations of nothing but one update of them begin."""

    def read(self, payload: bytes, position: int) -> Sequence[PartitionUpdate]:
        """Return the updates of the mutation with its entry's end at `position`; record what cannot be read."""
        # Nearly every mutation is one update of a table seen before. All others are handled, or refused, below.
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
