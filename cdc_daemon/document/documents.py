"""All mappings together: turns a key and its row into document writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cdc_daemon.document.mapping import Document, DocumentMapping, RowKey
from cdc_daemon.document.shape import misfit
from cdc_daemon.model.document_operation import RowBuilder, Write
from cdc_daemon.model.errors import CdcError, ConversionError, DocumentError, UndecodableError
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Row
from cdc_daemon.model.signal import TableName
from cdc_daemon.values.shown import told


class MappedDocuments:
    """The declared mappings by table. They accept rows with any columns, because a table may be altered at run time."""

    def __init__(self, mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> None:
        self._mappings = dict(mappings)
        self._builders: dict[tuple[TableName, tuple[str, ...]], RowBuilder] = {}

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        """Return a builder of documents from rows with these columns."""
        builder = self._builders.get((table, columns))
        if builder is None:
            made = [(mapping, mapping.compile(columns)) for mapping in self._mappings.get(table, ())]
            builder = self._builders[table, columns] = _RowDocuments(made, columns).build
        return builder

    def replace(self, table: TableName, mappings: Sequence[DocumentMapping]) -> None:
        """Replace the mappings of a table."""
        self._mappings[table] = mappings
        for known in [key for key in self._builders if key[0] == table]:
            del self._builders[known]


class DroppedDocuments:
    """Handles the documents of a dropped table: deletes them if the mapping says so, otherwise keeps them."""

    def __init__(self, mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> None:
        self._mappings = mappings

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:  # noqa: ARG002 -- there are none any more
        """Return a builder that deletes the documents of keys, except those that are kept."""
        removing = [mapping for mapping in self._mappings.get(table, ()) if mapping.on_drop == "remove"]
        documents = _RowDocuments([(mapping, _no_document) for mapping in removing], ())
        return lambda key, _: documents.build(key, None)


def _no_document(_row: Row, _key: RowKey) -> Document:
    raise AssertionError("a table that was dropped has no rows")


class _RowDocuments:
    def __init__(
        self, mappings: Sequence[tuple[DocumentMapping, Callable[[Row, RowKey], Document]]], columns: Sequence[str]
    ) -> None:
        self._mappings = mappings
        self._columns = columns

    def build(self, key: Key, row: Row | None) -> Sequence[Write]:
        """Return one write per mapping. Without a row each write deletes the document."""
        serialised = (key.partition_key, key.clustering or ())
        writes = []
        for mapping, make in self._mappings:
            try:
                if row is None:
                    writes.append(_removal(mapping, _key_values(mapping, key)))
                    continue
                identity, body, routing = make(row, serialised)
            except DocumentError as error:
                writes.append(self._failed(mapping, error, row))
            except Exception as error:  # noqa: BLE001 -- no value may end the daemon, whatever it does to Python
                place = {"object_type": mapping.name, "index": mapping.alias}
                writes.append(self._failed(mapping, ConversionError(misfit(error), **place), row))
            else:
                writes.append(
                    Write(mapping.alias, identity, body, routing, pipeline=mapping.pipeline, filtered=body is None)
                )
        return writes

    def _failed(self, mapping: DocumentMapping, error: DocumentError, row: Row | None) -> Write:
        """Return the write that records a document that cannot be built."""
        try:
            source = None if row is None else mapping.source_of(self._columns, row)
        except Exception:  # noqa: BLE001 -- such as nested too deep; the letter is kept without it
            source = None
        return Write(mapping.alias, str(error.where.get("id", "")), None, error=error, source=source)


def _removal(mapping: DocumentMapping, key: tuple[object, ...]) -> Write:
    return Write(mapping.alias, mapping.id_of(key), None, mapping.routing_of(key))


def _key_values(mapping: DocumentMapping, key: Key) -> tuple[object, ...]:
    table = mapping.table
    try:
        return (*table.key_values(key.partition_key), *table.clustering_values(key.clustering or ()))
    except CdcError as error:
        raise UndecodableError(f"the key cannot be decoded: {error.message}", table=str(table)) from error
    except Exception as error:
        raise UndecodableError(f"the key cannot be decoded: {told(error)}", table=str(table)) from error
