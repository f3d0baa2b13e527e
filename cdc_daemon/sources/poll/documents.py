"""Finds rows with documents that were read before the rows' last change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.documents import find_versions
from cdc_daemon.search.engine import DocumentName, SearchEngine
from cdc_daemon.sources.poll.rows import PolledRow


class DocumentVersions:
    """Compares rows with the documents they feed: a document's version is the moment its row was read."""

    def __init__(self, engine: SearchEngine, mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> None:
        self._engine = engine
        self._mappings = mappings

    async def behind(self, rows: Sequence[PolledRow], *, margin: int) -> list[PolledRow]:
        """Return the rows with a document that is missing or may not show the last change.

        A document shows the change if it was read more than `margin` microseconds after it. Raises
        `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        if not rows:
            return []
        mappings = self._mappings.get(rows[0].key.table, ())
        if not mappings:
            return list(rows)
        found = set()
        for mapping in mappings:
            named = [(row, name) for row in rows if (name := document_name(mapping, row)) is not None]
            versions = await find_versions(self._engine, [name for _, name in named])
            shown = {
                row.key
                for (row, _), version in zip(named, versions, strict=True)
                if version is not None and row.changed and version > row.changed + margin
            }
            found |= {row.key for row in rows if row.key not in shown}
        return [row for row in rows if row.key in found]


def document_name(mapping: DocumentMapping, row: PolledRow) -> DocumentName | None:
    """Return the name of a row's document, or None if no name can be built from its key."""
    table = mapping.table
    try:
        values = (*table.key_values(row.key.partition_key), *table.clustering_values(row.key.clustering or ()))
        return DocumentName(mapping.alias, mapping.id_of(values), mapping.routing_of(values))
    except Exception:  # noqa: BLE001 -- any key may fail
        return None  # the pipeline makes such a key a dead letter
