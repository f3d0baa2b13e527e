"""From documents back to keys, also where a document is from before its table had the key it has."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import CLUSTERING_FIELD, PARTITION_FIELD, DocumentMapping
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.stored_documents import StoredDocument
from cdc_daemon.tablejobs.document_keys import DocumentKeys
from tests.unit.document.tables import table

TABLE = TableName("sunbird", "t")


def keys() -> DocumentKeys:
    settings = MappingSettings(table=TABLE, alias="a")
    return DocumentKeys(
        DocumentMapping("m", settings, table(("p", "int", "partition_key"), ("c", "int", "clustering"))), settings
    )


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("source", "identity", "key"),
    [
        ({PARTITION_FIELD: number(1).hex(), CLUSTERING_FIELD: [number(2).hex()]}, "1:2", (1, 2)),
        ({PARTITION_FIELD: b"text".hex(), CLUSTERING_FIELD: [b"no number".hex()]}, "text:no number", None),
        ({PARTITION_FIELD: number(1).hex(), CLUSTERING_FIELD: []}, "1", None),
        ({PARTITION_FIELD: "no hex", CLUSTERING_FIELD: [number(2).hex()]}, "3:4", (3, 4)),
        ({}, "1:2", (1, 2)),
    ],
)
def test_the_key_of_a_document(source: dict[str, Any], identity: str, key: tuple[int, int] | None) -> None:
    expected = None if key is None else Key(TABLE, number(key[0]), (number(key[1]),))
    document = StoredDocument(id=identity, version=1, routing=None, source=source)
    assert keys().of(document) == expected
