from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.index_mapping import ANYTHING, constant_mapping, field_mapping
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
        ("decimal", {"type": "keyword", "ignore_above": 8191}),
        ("varint", {"type": "keyword", "ignore_above": 8191}),
        ("set<bigint>", {"type": "long"}),
        ("map<text, int>", ANYTHING),
        ("vector<float, 3>", {"type": "dense_vector", "dims": 3, "index": True, "similarity": "l2_norm"}),
        ("vector<float, 5000>", ANYTHING),
        ("vector<text, 2>", ANYTHING),
    ],
)
def test_each_type_has_its_field(kind: str, expected: Any) -> None:
    assert field_mapping(parse_type(kind)) == expected


def test_a_user_type_is_an_object_of_its_fields() -> None:
    address = CqlType("udt", (parse_type("int"),), field_names=("zip_code",))
    assert field_mapping(address, str.upper) == {"properties": {"ZIP_CODE": {"type": "integer"}}}


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
