"""Every CQL type as JSON, to the letter, and what a mapping makes of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from sandbox import Sandbox
from tests.integration.daemon.stage import Stage, new_stage

UUID = "123e4567-e89b-12d3-a456-426614174000"
TIMEUUID = "8db96410-8d36-11f0-8000-000000000001"

VALUES: dict[str, tuple[str, str, Any]] = {
    "ascii": ("ascii", "'a\"\\b'", 'a"\\b'),
    "text": ("text", "'Ünïcödé \U0001f600 ''\n\t\x01'", "Ünïcödé \U0001f600 '\n\t\x01"),
    "text_empty": ("text", "''", ""),
    "varchar": ("varchar", "'v'", "v"),
    "tinyint": ("tinyint", "-128", -128),
    "smallint": ("smallint", "32767", 32767),
    "int": ("int", "-2147483648", -2147483648),
    "bigint": ("bigint", "9223372036854775807", 9223372036854775807),
    "varint": ("varint", "-123456789012345678901234567890", "-123456789012345678901234567890"),
    "varint_small": ("varint", "7", "7"),
    "decimal": ("decimal", "12345678901234567890.12345678901234567890", "12345678901234567890.12345678901234567890"),
    "decimal_zeros": ("decimal", "1.500", "1.500"),
    "float": ("float", "1.5", 1.5),
    "float_exact": ("float", "0.1", 0.10000000149011612),
    "float_nan": ("float", "NaN", None),
    "double": ("double", "-0.1", -0.1),
    "double_large": ("double", "1.7976931348623157e308", 1.7976931348623157e308),
    "double_nan": ("double", "NaN", None),
    "double_infinite": ("double", "-Infinity", None),
    "boolean": ("boolean", "true", True),
    "boolean_false": ("boolean", "false", False),
    "blob": ("blob", "0x00ff10", "AP8Q"),
    "blob_empty": ("blob", "0x", ""),
    "date": ("date", "'2024-02-29'", "2024-02-29"),
    "date_old": ("date", "'0001-01-01'", "0001-01-01"),
    "time": ("time", "'08:12:54.123456789'", "08:12:54.123456789"),
    "timestamp": ("timestamp", "'2024-02-29T23:59:59.123+0530'", "2024-02-29T18:29:59.123Z"),
    "timestamp_epoch": ("timestamp", "0", "1970-01-01T00:00:00.000Z"),
    "timestamp_before": ("timestamp", "-1", "1969-12-31T23:59:59.999Z"),
    "timestamp_last": ("timestamp", "'9999-12-31T23:59:59.999Z'", "9999-12-31T23:59:59.999Z"),
    "duration": ("duration", "1y2mo3w4d5h6m7s8ms9us10ns", "14mo25d18367008009010ns"),
    "uuid": ("uuid", UUID, UUID),
    "timeuuid": ("timeuuid", TIMEUUID, TIMEUUID),
    "inet": ("inet", "'10.0.0.1'", "10.0.0.1"),
    "inet6": ("inet", "'2001:0db8::0001'", "2001:db8::1"),
    "vector": ("vector<float, 3>", "[1.5, -2, 0]", [1.5, -2.0, 0.0]),
    "list": ("list<text>", "['b', 'a', 'b']", ["b", "a", "b"]),
    "list_of_decimals": ("list<decimal>", "[1.10, -2]", ["1.10", "-2"]),
    "list_empty": ("list<text>", "[]", None),
    "frozen_list_empty": ("frozen<list<text>>", "[]", []),
    "set": ("set<int>", "{3, 1, 2}", [1, 2, 3]),
    "set_of_uuids": ("set<uuid>", f"{{{UUID}}}", [UUID]),
    "map": ("map<text, text>", "{'b': '1', 'a.c': '2', '': '3'}", {"b": "1", "a.c": "2", "": "3"}),
    "map_of_ints": ("map<int, boolean>", "{-1: true, 2: false}", {"-1": True, "2": False}),
    "map_of_times": ("map<timestamp, decimal>", "{0: 1.0}", {"1970-01-01T00:00:00.000Z": "1.0"}),
    "map_of_uuids": ("map<uuid, blob>", f"{{{UUID}: 0xff}}", {UUID: "/w=="}),
    "tuple": ("tuple<int, text, blob>", "(1, null, 0x01)", [1, None, "AQ=="]),
    "udt": (
        "point",
        "{x: 1, label: 'l', at: '2024-01-01', tags: {'t'}}",
        {"x": "1", "label": "l", "at": "2024-01-01", "tags": ["t"]},
    ),
    "udt_partial": ("point", "{x: 1}", {"x": "1", "label": None, "at": None, "tags": None}),
    "udt_frozen": (
        "frozen<point>",
        "{label: 'l'}",
        {"x": None, "label": "l", "at": None, "tags": None},
    ),
    "nested": (
        "map<text, frozen<list<frozen<map<int, frozen<set<timestamp>>>>>>>",
        "{'a': [{1: {0}}, {}]}",
        {"a": [{"1": ["1970-01-01T00:00:00.000Z"]}, {}]},
    ),
    "list_of_udts": (
        "list<frozen<point>>",
        "[{x: 1}, {x: 2, tags: {'b', 'a'}}]",
        [
            {"x": "1", "label": None, "at": None, "tags": None},
            {"x": "2", "label": None, "at": None, "tags": ["a", "b"]},
        ],
    ),
    "list_of_tuples": ("list<frozen<tuple<int, varint>>>", "[(1, 2), (3, null)]", [[1, "2"], [3, None]]),
    "absent": ("text", "null", None),
}
"""Column name to its type, a CQL literal, and the JSON value in the document."""

DECLARED = "id int PRIMARY KEY, a text, b int, c text, d int"


@pytest.fixture(scope="module")
def shown(
    box: Sandbox, cql: Session, elastic: Elasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with new_stage(box, cql, elastic, tmp_path_factory.mktemp("values")) as stage:
        stage.execute("CREATE TYPE {ks}.point (x varint, label text, at date, tags frozen<set<text>>)")
        columns = ", ".join(f"{name}_ {kind}" for name, (kind, _, _) in VALUES.items())
        stage.table("typed", f"id int PRIMARY KEY, {columns}")
        stage.table("include", DECLARED, include=["a", "id"], fields={"a": "first"})
        stage.table("exclude", DECLARED, exclude=["a", "id"], fields={"b": "second"})
        stage.table("dropped", DECLARED, nulls="drop")
        stage.table("template", "a text, b int, v text, PRIMARY KEY (a, b)", id="doc-{b}/{a}")
        stage.table("keys", "a text, b timestamp, c blob, v int, PRIMARY KEY ((a, b), c)")
        stage.table("twice", DECLARED)
        stage.map("again", table=f"{stage.keyspace}.twice", fields={"a": "other"}, include=["a"])
        stage.table("quoted", 'id int PRIMARY KEY, "camelCase" text, "with space" int, "select" text')
        stage.daemon.run()
        yield stage


@pytest.fixture(scope="module")
def typed(shown: Stage) -> dict[str, Any]:
    names = ", ".join(f"{name}_" for name in VALUES)
    values = ", ".join(literal for _, literal, _ in VALUES.values())
    shown.execute(f"INSERT INTO {{ks}}.typed (id, {names}) VALUES (1, {values})")
    shown.settle()
    return shown.get("typed", "1") or {}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_shown_without_loss(typed: dict[str, Any], name: str) -> None:
    expected = VALUES[name][2]
    assert typed[f"{name}_"] == expected
    assert type(typed[f"{name}_"]) is type(expected)


def test_a_row_without_values_is_nulls(shown: Stage) -> None:
    shown.execute("INSERT INTO {ks}.typed (id) VALUES (2)")
    shown.settle()
    assert shown.get("typed", "2") == {"id": 2, **{f"{name}_": None for name in VALUES}}


def insert(shown: Stage, table: str) -> dict[str, Any] | None:
    shown.execute(f"INSERT INTO {{ks}}.{table} (id, a, b, d) VALUES (1, 'x', 2, null)")
    shown.settle()
    return shown.get(table, "1")


def test_only_included_columns_are_shown(shown: Stage) -> None:
    assert insert(shown, "include") == {"first": "x", "id": 1}


def test_excluded_columns_are_not_shown(shown: Stage) -> None:
    assert insert(shown, "exclude") == {"second": 2, "c": None, "d": None}


def test_nulls_are_left_out_when_asked(shown: Stage) -> None:
    assert insert(shown, "dropped") == {"id": 1, "a": "x", "b": 2}


def test_one_table_feeds_two_indices(shown: Stage) -> None:
    assert insert(shown, "twice") == {"id": 1, "a": "x", "b": 2, "c": None, "d": None}
    assert shown.get("again", "1") == {"other": "x"}
    shown.execute("DELETE FROM {ks}.twice WHERE id = 1")
    shown.settle()
    assert shown.get("twice", "1") is None
    assert shown.get("again", "1") is None


def test_an_id_is_made_by_its_template(shown: Stage) -> None:
    shown.execute("INSERT INTO {ks}.template (a, b, v) VALUES ('x:y', 7, 'z')")
    shown.settle()
    assert shown.documents("template") == {"doc-7/x:y": {"a": "x:y", "b": 7, "v": "z"}}
    shown.execute("DELETE FROM {ks}.template WHERE a = 'x:y' AND b = 7")
    shown.settle()
    assert shown.documents("template") == {}


def test_an_id_of_several_columns_keeps_keys_apart(shown: Stage) -> None:
    for part in ("a:b", "a\\:b", "a", ""):
        shown.execute("INSERT INTO {ks}.keys (a, b, c, v) VALUES (%s, 0, 0xff, 1)", [part])
    shown.settle()
    assert set(shown.documents("keys")) == {
        rf"{text}:1970-01-01T00\:00\:00.000Z:/w==" for text in (r"a\:b", r"a\\\:b", "a", "")
    }
    shown.execute("DELETE FROM {ks}.keys WHERE a = %s AND b = 0", ["a:b"])
    shown.settle()
    assert len(shown.documents("keys")) == 3
    shown.assert_equal("keys")


def test_columns_with_names_that_need_quotes(shown: Stage) -> None:
    shown.execute('INSERT INTO {ks}.quoted (id, "camelCase", "with space", "select") VALUES (1, \'a\', 2, \'b\')')
    shown.settle()
    assert shown.get("quoted", "1") == {"id": 1, "camelCase": "a", "with space": 2, "select": "b"}
