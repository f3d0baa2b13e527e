"""All mappings together: turns a key and its row into operations on documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_daemon.document.mapping import DocumentMapping, RowKey, RowOperation
from cdc_daemon.document.shape import misfit
from cdc_daemon.model.document_operation import FailedBuild, Operation, RowBuilder
from cdc_daemon.model.errors import CdcError, ConversionError, DocumentError, UndecodableError
from cdc_daemon.model.reading import Row
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.values.messages import error_text


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
        """Return a builder that deletes the documents of keys, unless the mapping keeps them."""
        removing = [mapping for mapping in self._mappings.get(table, ()) if mapping.on_drop == "remove"]
        documents = _RowDocuments([(mapping, _no_document) for mapping in removing], ())
        return lambda key, _, version, read_at: documents.build(key, None, version, read_at)


def _no_document(_row: Sequence[object], _key: RowKey, _version: int, _read_at: float) -> Operation:
    raise AssertionError("a table that was dropped has no rows")


class _RowDocuments:
    def __init__(self, mappings: Sequence[tuple[DocumentMapping, RowOperation]], columns: Sequence[str]) -> None:
        self._mappings = mappings
        self._columns = columns

    def build(self, key: Key, row: Row | None, version: int, read_at: float) -> Sequence[Operation | FailedBuild]:
        """Return one operation per mapping. Without a row each deletes the document."""
        serialised = (key.partition_key, key.clustering or ())
        made: list[Operation | FailedBuild] = []
        for mapping, operation_of in self._mappings:
            try:
                if row is None:
                    made.append(mapping.removal(key_values(mapping, key), version, read_at))
                else:
                    made.append(operation_of(row, serialised, version, read_at))
            except DocumentError as error:
                made.append(self._failed(mapping, error, row))
            except Exception as error:  # noqa: BLE001 -- no value may end the daemon, whatever it does to Python
                place = {"object_type": mapping.name, "index": mapping.alias}
                made.append(self._failed(mapping, ConversionError(misfit(error), **place), row))
        return made

    def _failed(self, mapping: DocumentMapping, error: DocumentError, row: Row | None) -> FailedBuild:
        try:
            source = None if row is None else mapping.source_of(self._columns, row)
        except Exception:  # noqa: BLE001 -- such as nested too deep; the letter is kept without it
            source = None
        return FailedBuild(mapping.alias, str(error.where.get("id", "")), error, source)


def key_values(mapping: DocumentMapping, key: Key) -> tuple[object, ...]:
    """Return the values of a key's columns, partition key first. Raises `UndecodableError`."""
    table = mapping.table
    try:
        return (*table.key_values(key.partition_key), *table.clustering_values(key.clustering or ()))
    except CdcError as error:
        raise UndecodableError(f"the key cannot be decoded: {error.message}", table=str(table)) from error
    except Exception as error:
        raise UndecodableError(f"the key cannot be decoded: {error_text(error)}", table=str(table)) from error
