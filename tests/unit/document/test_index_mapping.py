from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.field_types import ANYTHING, FLATTENED, KEYWORD, NUMBER, FieldTypes
from cdc_daemon.document.index_mapping import constant_mapping
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from tests.unit.document.tables import table

TABLE = table(
    ("id", "text", "partition_key"),
    ("flags", "int", "regular"),
    ("details", "text", "regular"),
    ("start_date", "timestamp", "regular"),
    ("tags", "set<text>", "regular"),
    ("embedding", "vector<float, 3>", "regular"),
)


def properties(**settings: Any) -> dict[str, Any]:
    declared = MappingSettings.model_validate({"table": TableName("sunbird", "t"), "alias": "a", **settings})
    made: dict[str, Any] = DocumentMapping("user", declared, TABLE).index_mapping()["properties"]
    return made


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("int", {"type": "integer"}),
        ("timestamp", {"type": "date"}),
        ("blob", {"type": "binary"}),
        ("uuid", KEYWORD),
        ("decimal", NUMBER),
        ("set<varint>", NUMBER),
        ("set<bigint>", {"type": "long"}),
        ("map<text, int>", FLATTENED),
        ("list<frozen<map<text, text>>>", FLATTENED),
        ("tuple<int, text>", ANYTHING),
        ("map<text, " + "frozen<map<text, " * 14 + "int" + ">>" * 14 + ">", ANYTHING),
        ("vector<float, 3>", {"type": "dense_vector", "dims": 3, "index": True, "similarity": "l2_norm"}),
        ("vector<float, 5000>", ANYTHING),
        ("vector<text, 2>", ANYTHING),
    ],
)
def test_each_type_has_its_field(kind: str, expected: Any) -> None:
    assert FieldTypes().of(parse_type(kind)) == expected


def test_a_user_type_is_an_object_of_its_fields() -> None:
    address = CqlType("udt", (parse_type("int"),), field_names=("zip_code",))
    assert FieldTypes().of(address, str.upper) == {"properties": {"ZIP_CODE": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "boolean"), (1, "long"), (1.5, "double"), ("x", "text"), (None, "object"), ([], "object")],
)
def test_a_constant_s_field_follows_its_value(value: Any, kind: str) -> None:
    assert constant_mapping(value)["type"] == kind


def test_parsed_texts_take_anything_and_dates_their_pattern() -> None:
    made = properties(json_text={"details": {}}, dates={"start_date": "yyyy-MM-dd"})
    assert made["details"] == ANYTHING
    assert made["start_date"] == {"type": "date", "format": "uuuu-MM-dd"}


def test_computed_fields_follow_what_is_known_of_them() -> None:
    made = properties(computed={"high": "flags > 4", "identifier": "id", "again": "identifier", "x": "flags + 1"})
    assert made["high"] == {"type": "boolean"}
    assert made["identifier"] == made["id"] == made["again"]
    assert made["x"] == ANYTHING


def test_single_fields_may_be_declared() -> None:
    assert properties(field_types={"id": {"type": "keyword"}})["id"] == {"type": "keyword"}
    with pytest.raises(ConfigError, match="field_types, found 'idd'") as caught:
        properties(field_types={"idd": {"type": "keyword"}})
    assert caught.value.hint == "did you mean 'id'?"


TYPES: dict[str, Any] = {"int": {"type": "long"}, "varint": {"type": "long"}, "text": {"type": "keyword"}}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("int", {"type": "long"}),
        ("list<text>", {"type": "keyword"}),
        ("ascii", FieldTypes().of(parse_type("text"))),
        ("varint", {"type": "long", "ignore_malformed": True, "fields": NUMBER["fields"]}),
        ("vector<int, 2>", ANYTHING),
    ],
)
def test_a_type_may_have_another_field_and_numbers_keep_their_exact_text(kind: str, expected: Any) -> None:
    assert FieldTypes(TYPES).of(parse_type(kind)) == expected


def test_what_is_declared_of_a_number_counts() -> None:
    scaled = {"type": "scaled_float", "scaling_factor": 100, "ignore_malformed": False, "fields": {}}
    assert FieldTypes({"decimal": scaled}).of(parse_type("decimal")) == scaled
    assert FieldTypes({"decimal": {"type": "keyword"}}).of(parse_type("decimal")) == {"type": "keyword"}
    assert FieldTypes({"map": dict(ANYTHING)}).of(parse_type("map<text, int>")) == ANYTHING


MAPS = table(
    ("id", "text", "partition_key"),
    ("price", "decimal", "regular"),
    ("labels", "map<text, text>", "regular"),
    ("moments", "map<text, timestamp>", "regular"),
    ("parsed", "map<text, text>", "regular"),
)


def of_maps(**settings: Any) -> DocumentMapping:
    declared = MappingSettings.model_validate({"table": TableName("sunbird", "t"), "alias": "a", **settings})
    return DocumentMapping("user", declared, MAPS)


def test_maps_are_flattened_unless_their_texts_are_parsed() -> None:
    made = of_maps(json_text={"parsed": {}}, dates={"moments": "epoch_millis"})
    fields = made.index_mapping()["properties"]
    assert {name: fields[name] for name in ("labels", "moments", "parsed")} == {
        "labels": FLATTENED, "moments": FLATTENED, "parsed": ANYTHING,
    }  # fmt: skip
    assert made.bookkeeping["cdc_unindexed"] == ANYTHING
    build = made.compile(("id", "price", "labels", "moments", "parsed"))
    assert build(("u", None, {"a": "b"}, None, None), (b"u", ()), 1, 0.0).flattened == ("labels", "moments")


def test_a_declared_mapping_and_one_without_maps_need_no_field_for_what_does_not_fit() -> None:
    for made in (of_maps(mappings={"properties": {}}), of_maps(types={"map": dict(ANYTHING)}), of_maps(include=["id"])):
        assert "cdc_unindexed" not in made.bookkeeping


def test_the_former_mapping_has_the_former_defaults_and_what_is_declared() -> None:
    made = of_maps(types={"text": {"type": "keyword"}}).former_index_mapping()["properties"]
    assert (made["price"], made["labels"], made["id"]) == (KEYWORD, ANYTHING, {"type": "keyword"})
