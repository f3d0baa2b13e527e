"""All mappings together: from a key and its row to the writes that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_daemon.document.mapping import DocumentMapping, Layout
from cdc_daemon.errors import CdcError, DocumentError
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.ports import Row, RowBuilder, Write
from cdc_daemon.pipeline.signal import TableName


class MappedDocuments:
    """The declared mappings by their tables, ready for rows of any columns: a table may change meanwhile."""

    def __init__(self, mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> None:
        self._mappings = mappings
        self._builders: dict[tuple[TableName, tuple[str, ...]], RowBuilder] = {}

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        """Return what builds the documents of rows with these columns."""
        builder = self._builders.get((table, columns))
        if builder is None:
            layouts = [(mapping, mapping.layout(columns)) for mapping in self._mappings[table]]
            builder = self._builders[table, columns] = _RowDocuments(layouts).build
        return builder


class _RowDocuments:
    def __init__(self, mappings: Sequence[tuple[DocumentMapping, Layout]]) -> None:
        self._mappings = mappings

    def build(self, key: Key, row: Row | None) -> Sequence[Write]:
        """Return a write for each mapping; without a row each removes its document. Raises `DocumentError`."""
        serialised = (key.partition_key, key.clustering or ())
        return [
            Write(mapping.alias, mapping.id_of(_key_values(mapping, key)), None)
            if row is None
            else Write(mapping.alias, mapping.id_of(mapping.key_of(row)), mapping.body_of(row, layout, serialised))
            for mapping, layout in self._mappings
        ]


def _key_values(mapping: DocumentMapping, key: Key) -> tuple[object, ...]:
    table = mapping.table
    try:
        return (*table.key_values(key.partition_key), *table.clustering_values(key.clustering or ()))
    except CdcError as error:
        raise DocumentError(f"the key cannot be decoded: {error.message}", table=str(table)) from error
    except Exception as error:
        raise DocumentError(f"the key cannot be decoded: {type(error).__name__}: {error}", table=str(table)) from error
