"""From a document back to the key of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.bookkeeping import read_row_key
from cdc_daemon.document.mapping import (
    CLUSTERING_FIELD,
    KEY_FIELD,
    LONGEST_PARTITION_TERM,
    PARTITION_FIELD,
    DocumentMapping,
)
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.stored_documents import StoredDocument
from cdc_daemon.sources.requests.errors import InvalidIdError
from cdc_daemon.sources.requests.ids import IdParser


class DocumentKeys:
    """Finds the row that a document of one mapping shows."""

    FIELDS = (PARTITION_FIELD, CLUSTERING_FIELD, KEY_FIELD)
    """The required fields of a document's source."""

    def __init__(self, mapping: DocumentMapping, settings: MappingSettings) -> None:
        self._table = TableName(mapping.table.keyspace, mapping.table.name)
        self._depth = len(mapping.table.clustering)
        self._takes = mapping.table.takes_key
        self._identifiers = IdParser(settings, mapping.table)

    def of(self, document: StoredDocument) -> Key | None:
        """Return the key, or None where no row can have such a document."""
        source = document.source or {}
        if self._depth and (key := self._of_fields(source)) is not None:
            return key
        return self.of_id(source.get(KEY_FIELD) or document.id)

    def of_id(self, identity: str) -> Key | None:
        """Return the key in a document's readable id, or None where it contains none."""
        try:
            key = self._identifiers.read_one(identity).key
        except InvalidIdError:
            return None
        return None if key.clustering is None else key

    def _of_fields(self, source: Mapping[str, Any]) -> Key | None:
        found = read_row_key(source, longest=LONGEST_PARTITION_TERM - 1)
        if found is None or len(found[1]) != self._depth:
            return None
        partition, parts = found
        # A document may be older than the re-creation of its table with another key.
        return Key(self._table, partition, parts) if self._takes(partition, parts) else None
