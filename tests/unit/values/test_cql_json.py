from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import pytest
from cassandra.cqltypes import UTF8Type
from cassandra.util import Date, Duration, OrderedMapSerializedKey, SortedSet, Time

from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import ConfigError, DocumentError
from cdc_daemon.values.cql_json import Bad, converter, json_text_converter, key_converter


class Address(NamedTuple):
    street: str | None
    zip: int | None
    since: datetime | None


ADDRESS = CqlType(
    "udt",
    (parse_type("text"), parse_type("int"), parse_type("timestamp")),
    type_name="address",
    field_names=("street", "zip", "since"),
)
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_000)  # noqa: DTZ001 -- the driver gives naive UTC


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "é", "é"),
        ("bigint", 2**63 - 1, 2**63 - 1),
        ("boolean", True, True),
        ("double", 1.5, 1.5),
        ("double", math.nan, None),
        ("float", math.inf, None),
        ("decimal", Decimal("1.50"), "1.50"),
        ("decimal", Decimal("1E+3"), "1E+3"),
        ("varint", 10**30, str(10**30)),
        ("blob", b"\x00\xff", "AP8="),
        ("uuid", uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("inet", "2001:db8::1", "2001:db8::1"),
        ("timestamp", MOMENT, "2026-02-03T04:05:06.789Z"),
        ("timestamp", MOMENT.replace(tzinfo=UTC), "2026-02-03T04:05:06.789Z"),
        ("timestamp", MOMENT.replace(tzinfo=timezone(timedelta(hours=1))), "2026-02-03T03:05:06.789Z"),
        ("timestamp", datetime(9999, 12, 31, 23, 59, 59, 998_993), "9999-12-31T23:59:59.999Z"),  # noqa: DTZ001 -- likewise
        ("date", Date("2026-02-03"), "2026-02-03"),
        ("date", Date("1970-01-01"), "1970-01-01"),
        ("date", Date("0001-01-01"), "0001-01-01"),
        ("date", Date("9999-12-31"), "9999-12-31"),
        ("date", Date(2_932_897), "+10000-01-01"),
        ("date", Date(-719_163), "0000-12-31"),
        ("date", Date(-719_529), "-0001-12-31"),
        ("date", Date(2**31 - 1), "+5881580-07-11"),
        ("date", Date(-(2**31)), "-5877641-06-23"),
        ("time", Time("04:05:06.789000001"), "04:05:06.789000001"),
        ("duration", Duration(1, 2, 3), "1mo2d3ns"),
        ("list<int>", [3, 1], [3, 1]),
        ("frozen<list<timestamp>>", [MOMENT, None], ["2026-02-03T04:05:06.789Z", None]),
        ("set<text>", SortedSet(["b", "a"]), ["a", "b"]),
        ("map<text, text>", {"k": "v"}, {"k": "v"}),
        ("map<int, frozen<list<decimal>>>", {7: [Decimal("0.1")]}, {"7": ["0.1"]}),
        ("map<boolean, int>", {True: 1}, {"true": 1}),
        ("tuple<int, blob>", (1, b"x"), [1, "eA=="]),
        ("tuple<int, blob>", (1, None), [1, None]),
        ("vector<float, 3>", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    ],
)
def test_each_type_has_one_json_form(kind: str, value: Any, expected: Any) -> None:
    convert = converter(parse_type(kind))
    found = value if convert is None else convert(value)
    assert found == expected
    assert orjson.loads(orjson.dumps(found)) == expected


def test_the_driver_s_own_map_is_an_object() -> None:
    entries = OrderedMapSerializedKey(UTF8Type, 4)
    entries._insert("k", "v")
    convert = converter(parse_type("map<text, text>"))
    assert convert is not None
    assert convert(entries) == {"k": "v"}


def test_a_user_type_is_an_object_with_its_fields_names() -> None:
    convert = converter(ADDRESS)
    assert convert is not None
    assert convert(Address("Main", None, MOMENT)) == {
        "street": "Main",
        "zip": None,
        "since": "2026-02-03T04:05:06.789Z",
    }


def test_a_user_type_that_grew_since_the_value_was_written_lacks_the_new_fields() -> None:
    convert = converter(ADDRESS)
    assert convert is not None
    assert convert(("Main",)) == {"street": "Main"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "a:b", "a:b"),
        ("int", -3, "-3"),
        ("boolean", False, "false"),
        ("timestamp", MOMENT, "2026-02-03T04:05:06.789Z"),
        ("frozen<list<int>>", [1, 2], "[1,2]"),
        ("frozen<list<text>>", ["ä,b", 'c"'], '["ä,b","c\\""]'),
        ("frozen<set<uuid>>", {uuid.UUID(int=1)}, '["00000000-0000-0000-0000-000000000001"]'),
        ("frozen<tuple<text, int>>", ("null", None), '["null",null]'),
        ("frozen<map<text, double>>", {"a": math.nan}, '{"a":"NaN"}'),
        ("double", math.nan, "NaN"),
        ("float", -math.inf, "-Infinity"),
        ("frozen<map<text, int>>", {"a": 1}, '{"a":1}'),
    ],
)
def test_each_type_has_one_text(kind: str, value: Any, expected: str) -> None:
    assert key_converter(parse_type(kind))(value) == expected


@pytest.mark.parametrize(
    ("bad", "text", "expected"),
    [
        (Bad.NULL, '{"a": 1}', {"a": 1}),
        (Bad.NULL, "[]", []),
        (Bad.NULL, "7", 7),
        (Bad.NULL, "{", None),
        (Bad.NULL, "NaN", None),
        (Bad.NULL, '"\\ud800"', None),
        (Bad.TEXT, "{", "{"),
        (Bad.EMPTY, "{", ["empty"]),
        (Bad.TEXT, "", ["empty"]),
        (Bad.NULL, " \n", ["empty"]),
        (Bad.DEAD_LETTER, "", ["empty"]),
        (Bad.DEAD_LETTER, None, ["empty"]),
        (Bad.NULL, None, ["empty"]),
    ],
)
def test_a_text_is_shown_as_what_it_holds(bad: Bad, text: str | None, expected: Any) -> None:
    assert json_text_converter("c", parse_type("text"), bad=bad, empty=["empty"])(text) == expected


def test_a_bad_text_may_set_the_document_aside() -> None:
    convert = json_text_converter("details", parse_type("text"), bad=Bad.DEAD_LETTER, empty=None)
    with pytest.raises(DocumentError, match="'details'"):
        convert("{")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("map<text, text>", {"a": '{"x": 1}', "b": "bad", "c": None}, {"a": {"x": 1}, "b": None, "c": None}),
        ("list<text>", ["1", "[2]"], [1, [2]]),
        ("set<ascii>", SortedSet(["1"]), [1]),
        ("map<int, text>", {7: "true"}, {"7": True}),
    ],
)
def test_texts_in_a_collection_are_parsed_each(kind: str, value: Any, expected: Any) -> None:
    assert json_text_converter("c", parse_type(kind), bad=Bad.NULL, empty=None)(value) == expected


@pytest.mark.parametrize("kind", ["int", "list<int>", "map<text, int>", "blob"])
def test_only_texts_hold_json(kind: str) -> None:
    with pytest.raises(ConfigError, match="expected a column of text"):
        json_text_converter("c", parse_type(kind), bad=Bad.NULL, empty=None)
