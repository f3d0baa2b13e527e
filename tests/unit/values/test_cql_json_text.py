from __future__ import annotations

from typing import Any

import pytest
from cassandra.util import SortedSet

from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.model.errors import ConfigError, DocumentError
from cdc_daemon.values.cql_json import Bad, json_text_converter


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
