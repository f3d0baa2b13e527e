from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.document_operation import FailedBuild, Operation, RemovalMark
from cdc_daemon.model.errors import (
    ConfigError,
    DocumentError,
    ExpressionError,
    HookError,
    JsonTextError,
    UndecodableError,
)
from cdc_daemon.model.reading import Row
from cdc_daemon.model.signal import Key, TableName
from tests.unit.document.tables import table

USER = table(("id", "text", "partition_key"), ("firstname", "text", "regular"), ("gone", "boolean", "regular"))
TABLE = TableName("sunbird", "t")
COLUMNS = ("id", "firstname", "gone")
KEY = Key(TABLE, b"u1", ())
VERSION = 17
READ_AT = 0.5


def build(row: Row | None, *settings: dict[str, Any]) -> list[Operation | FailedBuild]:
    mappings = [
        DocumentMapping(f"type{at}", MappingSettings.model_validate({"table": TABLE, "alias": f"a{at}", **each}), USER)
        for at, each in enumerate(settings)
    ]
    return list(MappedDocuments({TABLE: mappings}).of(TABLE, COLUMNS)(KEY, row, VERSION, READ_AT))


def test_each_mapping_of_a_table_makes_an_operation() -> None:
    first, second = build(("u1", "Asha", None), {"pipeline": "p"}, {"include": ["id"], "routing": "{id}"})
    assert isinstance(first, Operation)
    assert isinstance(second, Operation)
    assert (first.alias, first.id, first.pipeline, first.routing) == ("a0", "u1", "p", None)
    assert (first.version, first.read_at) == (VERSION, READ_AT)
    assert (second.alias, second.routing) == ("a1", "u1")
    assert second.body == orjson.dumps({"id": "u1"})


def test_a_row_that_is_gone_is_removed_by_its_key_alone() -> None:
    assert build(None, {"routing": "{id}"}) == [Operation("a0", "u1", VERSION, None, READ_AT, "u1")]


def test_a_row_that_is_gone_is_marked_and_one_that_is_not_shown_removed() -> None:
    mark = {"on_row_delete": "mark", "routing": "{id}", "where": {"gone": [None, False]}}
    assert build(None, mark) == [
        Operation("a0", "u1", VERSION, None, READ_AT, "u1", mark=RemovalMark("deleted", "deleted_at"))
    ]
    (filtered,) = build(("u1", "Asha", True), mark)
    assert filtered == Operation("a0", "u1", VERSION, None, READ_AT, "u1", filtered=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"removal_mark": {"field": "gone"}}, "removal_mark.field, found 'gone'"),
        ({"removal_mark": {"time_field": "firstname"}}, "removal_mark.time_field, found 'firstname'"),
        ({"constants": {"deleted": False}}, "removal_mark.field, found 'deleted'"),
        ({"computed": {"deleted_at": "id"}}, "removal_mark.time_field, found 'deleted_at'"),
        ({"fields": {"gone": "deleted"}}, "removal_mark.field, found 'deleted'"),
    ],
)
def test_a_mark_has_fields_of_its_own(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(None, {"on_row_delete": "mark", **settings})
    assert caught.value.hint is not None


def test_rows_that_share_a_document_cannot_be_marked() -> None:
    shared = table(("a", "text", "partition_key"), ("b", "text", "clustering"))
    settings = MappingSettings.model_validate({"table": TABLE, "alias": "a", "id": "{a}", "on_row_delete": "mark"})
    with pytest.raises(ConfigError, match="an id of the whole key"):
        DocumentMapping("user", settings, shared)


def test_the_fields_of_the_mark_are_the_daemon_s_own() -> None:
    settings = MappingSettings.model_validate({"table": TABLE, "alias": "a", "on_row_delete": "mark"})
    own = DocumentMapping("user", settings, USER).bookkeeping
    assert (own["deleted"], own["deleted_at"]) == ({"type": "boolean"}, {"type": "date"})


def test_a_row_that_is_not_shown_is_removed_and_said_to_be_filtered() -> None:
    (made,) = build(("u1", "Asha", True), {"where": {"gone": [None, False]}})
    assert made == Operation("a0", "u1", VERSION, None, READ_AT, filtered=True)


def test_a_document_that_cannot_be_built_leaves_the_others() -> None:
    bad, good = build(("u1", "Asha", None), {"computed": {"x": "firstname + 1"}}, {})
    assert isinstance(bad, FailedBuild)
    assert isinstance(bad.error, ExpressionError)
    assert bad.error.where == {"object_type": "type0", "index": "a0", "id": "u1", "field": "x"}
    assert isinstance(good, Operation)
    assert good.body is not None


@pytest.mark.parametrize(
    ("settings", "kind", "source"),
    [
        ({"hook": "tests.unit.document.hooks:add_length"}, HookError, {"id": "u1", "firstname": "bad", "gone": True}),
        (
            {"json_text": {"firstname": {"bad": "dead_letter"}}},
            JsonTextError,
            {"id": "u1", "firstname": "bad", "gone": True},
        ),
        ({"computed": {"x": "gone + 'x'"}, "exclude": ["firstname"]}, ExpressionError, {"id": "u1", "gone": True}),
        ({"where": "gone + 'x' == 'x'", "include": ["gone"]}, ExpressionError, {"id": "u1", "gone": True}),
    ],
)
def test_a_document_that_cannot_be_built_tells_why_and_of_what_its_mapping_shows(
    settings: dict[str, Any], kind: type[DocumentError], source: dict[str, Any]
) -> None:
    (failed,) = build(("u1", "bad", True), settings)
    assert isinstance(failed, FailedBuild)
    assert type(failed.error) is kind
    assert failed.source is not None
    assert orjson.loads(failed.source) == source


def test_a_table_without_mappings_has_no_documents() -> None:
    assert list(MappedDocuments({}).of(TABLE, COLUMNS)(KEY, ("u1", None, None), VERSION, READ_AT)) == []


def test_a_key_that_cannot_be_decoded_is_this_document_s_error() -> None:
    mapping = DocumentMapping("type", MappingSettings(table=TABLE, alias="a"), USER)
    (failed,) = MappedDocuments({TABLE: [mapping]}).of(TABLE, COLUMNS)(Key(TABLE, b"\xff", ()), None, VERSION, READ_AT)
    assert isinstance(failed, FailedBuild)
    assert isinstance(failed.error, UndecodableError)
    assert failed.source is None
