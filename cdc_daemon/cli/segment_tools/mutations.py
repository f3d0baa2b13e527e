"""Decode the mutations of a segment, refreshing the schema for unknown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from cdc_daemon.cli.segment_tools.tables import CommandTables, TableFilter
from cdc_daemon.commitlog.entries import OVERHEAD, read_entries
from cdc_daemon.commitlog.layout import TABLE_ID_SIZE, TableLayout
from cdc_daemon.commitlog.mutation import read_mutation
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.commitlog.update_decoder import UpdateDecoder
from cdc_daemon.model.errors import CommitLogError, MutationError

_QUESTIONS: Final = 1000
"""The maximum number of schema refreshes. If it is exceeded, the segments are probably from another cluster."""


class Mutation(NamedTuple):
    """One mutation. `updates` are those that pass the filter, each with its size in bytes; `size` is that of the entry.

    `position` is the logical position of its end. `unknown` counts updates of unknown tables.
    """

    position: int
    size: int
    updates: list[tuple[PartitionUpdate, int]]
    unknown: int


class MutationReader:
    """Decodes mutations. For each unknown table and each decoding error the schema is refreshed once, if possible.

    `unknown` counts the updates of tables that remain unknown, by table id.
    """

    def __init__(self, tables: CommandTables, wanted: TableFilter) -> None:
        self.unknown: Counter[bytes] = Counter()
        self._tables = tables
        self._wanted = wanted
        self._asked: set[bytes | str] = set()

    def read(
        self, section: Section, *, segment: str, problems: list[CommitLogError], after: int = 0
    ) -> Iterator[Mutation]:
        """Yield the mutations that end after logical position `after`.

        Damage and decoding errors are appended to `problems`.
        """
        decoder = UpdateDecoder(section.version)

        def read(data: bytes, position: int, layout: TableLayout) -> tuple[tuple[PartitionUpdate, int], int]:
            update, end = decoder.update(data, position, layout)
            return (update, end - position + TABLE_ID_SIZE), end

        for payload, position in read_entries(section, segment=segment, problems=problems):
            if position <= after:
                continue
            while True:
                try:
                    found, strangers = read_mutation(payload, self._layout_of, read)
                except MutationError as error:
                    # A column that was added a moment ago may be in the log before it is in our schema.
                    if self._ask(error.message):
                        continue
                    error.where.update(segment=segment, position=position)
                    problems.append(error)
                    break
                self.unknown.update(strangers)
                updates = [
                    (update._replace(position=position), size)
                    for update, size in found
                    if self._wanted.everything or update.table.id in self._wanted
                ]
                yield Mutation(position, len(payload) + OVERHEAD, updates, len(strangers))
                break

    def _layout_of(self, table_id: bytes) -> TableLayout | None:
        table = self._tables.current.get(table_id)
        if table is None and self._ask(table_id):
            table = self._tables.current.get(table_id)
        return None if table is None else TableLayout.of(table)

    def _ask(self, question: bytes | str) -> bool:
        """Refresh the schema, at most once for each question. Return whether it was refreshed."""
        if question in self._asked or len(self._asked) >= _QUESTIONS:
            return False
        self._asked.add(question)
        return self._tables.refresh()
