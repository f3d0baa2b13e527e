from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from cdc_daemon.config.mapping_shape import ShapeSettings
from cdc_daemon.document.shape import Extra, Shape
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import ConfigError, DocumentError

TYPES = {
    "id": parse_type("text"),
    "start_date": parse_type("timestamp"),
    "startDate": parse_type("text"),
    "flags": parse_type("int"),
    "gone": parse_type("boolean"),
    "details": parse_type("text"),
    "owner": parse_type("uuid"),
    "tags": parse_type("set<text>"),
}
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_000)  # noqa: DTZ001 -- the driver gives naive UTC
ROW: dict[str, Any] = {
    "id": "i",
    "start_date": MOMENT,
    "startDate": "2026",
    "flags": 5,
    "gone": None,
    "details": '{"a": 1}',
    "owner": None,
    "tags": None,
}


def shape(**settings: Any) -> Shape:
    return Shape("user", ShapeSettings.model_validate(settings), TYPES)


def build(*, row: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    found = ROW | (row or {})
    return shape(**settings).compile(tuple(found))(tuple(found.values()))


def test_names_are_as_in_cassandra_unless_said_otherwise() -> None:
    assert list(build()) == list(TYPES)


def test_camel_names_follow_the_underscores() -> None:
    assert build(names="camel", exclude=["startDate"])["startDate"] == "2026-02-03T04:05:06.789Z"


def test_a_list_of_names_may_name_columns_that_this_table_has_not() -> None:
    made = build(names={"start_date": "startDate", "startDate": "oldStartDate", "elsewhere": "x"})
    assert {"startDate", "oldStartDate", "flags"} <= set(made)


def test_fields_go_before_names() -> None:
    assert build(names={"flags": "flagsValue"}, fields={"flags": "bits"})["bits"] == 5


def test_dates_have_patterns() -> None:
    assert build(dates={"start_date": "yyyy-MM-dd"})["start_date"] == "2026-02-03"
    assert build()["start_date"] == "2026-02-03T04:05:06.789Z"


def test_json_texts_are_parsed_and_nulls_become_what_is_declared() -> None:
    how: dict[str, Any] = {"json_text": {"details": {"bad": "empty", "empty": {}}}}
    assert build(**how)["details"] == {"a": 1}
    assert build(row={"details": None}, **how)["details"] == {}
    assert build(row={"details": "{"}, **how)["details"] == {}


def test_a_bad_json_text_may_be_a_document_error() -> None:
    with pytest.raises(DocumentError, match="details"):
        build(row={"details": "{"}, json_text={"details": {"bad": "dead_letter"}})


def test_computed_fields_see_columns_that_are_not_shown_and_fields_before_them() -> None:
    made = build(exclude=["flags"], computed={"high": "flags >= 4", "both": "high and blank(tags)"})
    assert made["high"] is True
    assert made["both"] is True
    assert "flags" not in made


def test_computed_values_become_json() -> None:
    assert build(exclude=["start_date"], computed={"at": "start_date"})["at"] == "2026-02-03T04:05:06.789Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**63 - 1, [2**63 - 1, 2**63 - 1]),
        (2**63, [str(2**63), str(2**63)]),
        (-(10**30), [str(-(10**30)), str(-(10**30))]),
    ],
)
def test_whole_numbers_of_any_length_are_computed_without_loss(value: int, expected: list[Any]) -> None:
    types = {"id": parse_type("text"), "big": parse_type("varint")}
    made = Shape("x", ShapeSettings(computed={"same": "big", "listed": "[big]"}), types)
    found = made.compile(("id", "big"))(("i", value))
    assert found == {"id": "i", "big": str(value), "same": expected[0], "listed": expected[1:]}
    assert orjson.loads(orjson.dumps(found)) == found


def test_constants_stand_in_each_object_null_too() -> None:
    made = build(constants={"version": 1, "avatar": None}, nulls="drop")
    assert made["version"] == 1
    assert made["avatar"] is None
    assert "gone" not in made


def test_extras_are_made_of_values_that_are_no_columns() -> None:
    extras = [Extra("\0orgs", "orgs", len), Extra("\0absent", "absent", len)]
    made = Shape("user", ShapeSettings(computed={"many": "orgs > 1"}), TYPES, made=("orgs", "absent"))
    row = {**ROW, "\0orgs": ["a", "b"]}
    found = made.compile(tuple(row), extras)(tuple(row.values()))
    assert found["orgs"] == 2
    assert found["many"] is True
    assert "absent" not in found


@pytest.mark.parametrize(
    ("where", "row", "shown"),
    [
        ({"gone": False}, {"gone": False}, True),
        ({"gone": False}, {"gone": None}, False),
        ({"gone": [False, None]}, {"gone": None}, True),
        ({"gone": False, "flags": [4, 5]}, {"gone": False}, True),
        ({"gone": False, "flags": 4}, {"gone": False}, False),
        ({"owner": "00000000-0000-0000-0000-000000000001"}, {"owner": __import__("uuid").UUID(int=1)}, True),
        ("not gone", {"gone": None}, True),
        ("'x' in tags", {"tags": {"x"}}, True),
        ("'x' in tags", {"tags": None}, False),
        ("start_date == null", {}, False),
    ],
)
def test_which_rows_are_shown(where: Any, row: dict[str, Any], *, shown: bool) -> None:
    found = ROW | row
    condition = shape(where=where).condition(tuple(found))
    assert condition is not None
    assert condition(tuple(found.values())) is shown


@pytest.mark.parametrize("where", [{"gone": False}, {"gone": [None, False], "flags": 5}, "not gone"])
def test_where_a_column_of_the_filter_was_dropped_nobody_can_tell(where: Any) -> None:
    """Null in its place would have every document removed, or those shown that were hidden."""
    condition = shape(where=where).condition(("id", "flags"))
    assert condition is not None
    with pytest.raises(DocumentError, match=r"user\.where names, found none called gone"):
        condition(("i", 5))


def test_every_column_used_is_told() -> None:
    made = shape(include=["id"], computed={"x": "flags + 1"}, where="not gone")
    assert made.used == {"id", "flags", "gone"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"json_text": {"detials": {}}}, "json_text, found 'detials'"),
        ({"dates": {"start": "yyyy"}}, "dates, found 'start'"),
        ({"dates": {"flags": "yyyy"}}, "timestamps or dates in dates, found 'flags'"),
        ({"json_text": {"flags": {}}}, "expected a column of text"),
        ({"where": {"gon": False}}, "where, found 'gon'"),
        ({"where": {"gone": "false"}}, "type boolean for 'gone' in where, found 'false'"),
        ({"where": {"flags": True}}, "type int for 'flags' in where"),
        ({"where": {"id": 5}}, "type text for 'id' in where"),
        ({"where": {"tags": "x"}}, "type set<text> for 'tags'"),
        ({"where": "gon"}, "in where: expected a column"),
        ({"computed": {"x": "flag"}}, "found 'flag'"),
        ({"computed": {"id": "flags"}}, "found id given twice"),
        ({"constants": {"id": 1}}, "found id given twice"),
        ({"names": {"flags": "id"}}, "found id given twice"),
        ({"names": "camel"}, "found startDate given twice"),
    ],
)
def test_what_does_not_fit_the_table_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        shape(**settings)
    assert caught.value.where["mapping"] == "user"


def test_a_user_type_s_fields_are_named_by_the_list_but_not_by_single_renames() -> None:
    address = CqlType("udt", (parse_type("text"), parse_type("text")), field_names=("id", "zip_code"))
    types = {"id": parse_type("text"), "home": address}
    made = Shape("user", ShapeSettings(names={"zip_code": "zip"}, fields={"id": "userId"}), types)
    found = made.compile(("id", "home"))(("u", ("a", "b")))
    assert found == {"userId": "u", "home": {"id": "a", "zip": "b"}}


def test_an_object_of_one_column_and_of_none() -> None:
    assert build(include=["id"]) == {"id": "i"}
    assert Shape("x", ShapeSettings(exclude=("id",), constants={"a": 1}), {"id": parse_type("text")}).compile(("id",))(
        ("i",)
    ) == {"a": 1}
