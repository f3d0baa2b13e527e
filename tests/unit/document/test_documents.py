from __future__ import annotations

from typing import Any

import orjson

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.pipeline.documents import MappedDocuments
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.ports import Row, Write
from cdc_daemon.pipeline.signal import TableName
from tests.unit.document.tables import table

USER = table(("id", "text", "partition_key"), ("firstname", "text", "regular"), ("gone", "boolean", "regular"))
TABLE = TableName("sunbird", "t")
COLUMNS = ("id", "firstname", "gone")
KEY = Key(TABLE, b"u1", ())


def build(row: Row | None, *settings: dict[str, Any]) -> list[Write]:
    mappings = [
        DocumentMapping(f"type{at}", MappingSettings.model_validate({"table": TABLE, "alias": f"a{at}", **each}), USER)
        for at, each in enumerate(settings)
    ]
    return list(MappedDocuments({TABLE: mappings}).of(TABLE, COLUMNS)(KEY, row))


def test_each_mapping_of_a_table_makes_a_write() -> None:
    first, second = build(("u1", "Asha", None), {"pipeline": "p"}, {"include": ["id"], "routing": "{id}"})
    assert (first.alias, first.id, first.pipeline, first.routing) == ("a0", "u1", "p", None)
    assert (second.alias, second.routing) == ("a1", "u1")
    assert second.body == orjson.dumps({"id": "u1"})


def test_a_row_that_is_gone_is_removed_by_its_key_alone() -> None:
    assert build(None, {"routing": "{id}"}) == [Write("a0", "u1", None, "u1")]


def test_a_row_that_is_not_shown_is_removed_and_said_to_be_filtered() -> None:
    assert build(("u1", "Asha", True), {"where": {"gone": [None, False]}}) == [Write("a0", "u1", None, filtered=True)]


def test_a_document_that_cannot_be_built_leaves_the_others() -> None:
    bad, good = build(("u1", "Asha", None), {"computed": {"x": "firstname + 1"}}, {})
    assert bad.error is not None
    assert bad.body is None
    assert bad.error.where == {"object_type": "type0", "index": "a0", "id": "u1"}
    assert good.error is None
    assert good.body is not None


def test_a_table_without_mappings_has_no_documents() -> None:
    assert list(MappedDocuments({}).of(TABLE, COLUMNS)(KEY, ("u1", None, None))) == []


def test_a_key_that_cannot_be_decoded_is_this_document_s_error() -> None:
    mapping = DocumentMapping("type", MappingSettings(table=TABLE, alias="a"), USER)
    (write,) = MappedDocuments({TABLE: [mapping]}).of(TABLE, COLUMNS)(Key(TABLE, b"\xff", ()), None)
    assert write.error is not None
    assert "cannot be decoded" in write.error.message
