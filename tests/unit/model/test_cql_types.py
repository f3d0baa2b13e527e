from __future__ import annotations

import pytest

from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import CommitLogError

ADDRESS = CqlType("udt", (CqlType("text"),), frozen=False, type_name="address", field_names=("street",))
USER_TYPES = {"address": ADDRESS, "Mixed Case": ADDRESS, "int": ADDRESS}


@pytest.mark.parametrize(
    ("text", "length", "multi_cell"),
    [
        ("int", 4, False),
        ("bigint", 8, False),
        ("boolean", 1, False),
        ("timeuuid", 16, False),
        ("empty", 0, False),
        ("smallint", None, False),
        ("tinyint", None, False),
        ("date", None, False),
        ("time", None, False),
        ("inet", None, False),
        ("counter", None, False),
        ("varchar", None, False),
        ("list<int>", None, True),
        ("frozen<list<int>>", None, False),
        ("map<text, frozen<map<text, int>>>", None, True),
        ("tuple<int, text>", None, False),
        ("frozen<tuple<int, text>>", None, False),
        ("vector<float, 3>", 12, False),
        ("vector<vector<float, 2>, 3>", 24, False),
        ("vector<text, 3>", None, False),
        ("vector<smallint, 3>", None, False),
        ("address", None, True),
        ("frozen<address>", None, False),
        ('"Mixed Case"', None, True),
        ('frozen<"Mixed Case">', None, False),
        ("'org.apache.cassandra.db.marshal.DateType'", 8, False),
        ("'org.apache.cassandra.db.marshal.DynamicCompositeType(b=>BytesType)'", None, False),
    ],
)
def test_length_and_cells(text: str, length: int | None, multi_cell: bool) -> None:
    parsed = parse_type(text, user_types=USER_TYPES)
    assert parsed.fixed_length == length
    assert parsed.multi_cell is multi_cell


def test_a_native_name_is_never_a_user_type_unless_quoted() -> None:
    assert parse_type("int", user_types=USER_TYPES) == CqlType("int")
    assert parse_type('"int"', user_types=USER_TYPES).name == "udt"


@pytest.mark.parametrize(
    "text",
    ["int", "frozen<map<text, frozen<list<int>>>>", "list<frozen<address>>", "vector<float, 3>"],
)
def test_is_spelled_as_cassandra_spells_it(text: str) -> None:
    assert str(parse_type(text, user_types=USER_TYPES)) == text


def test_elements_are_frozen_whether_it_says_so_or_not() -> None:
    assert parse_type("list<address>", user_types=USER_TYPES) == parse_type(
        "list<frozen<address>>", user_types=USER_TYPES
    )


@pytest.mark.parametrize(
    "text",
    ["", " ", "<", "int>", "int int", "list<", "list<int", "map<int>", "list<int, int>", "vector<int>",
     "vector<int, x>", "vector<int, 3, int>", "nothing", "nothing<int>", '"unclosed', "set<>", "int,", "list<" * 5000],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CommitLogError, match="expected a CQL type"):
        parse_type(text, user_types=USER_TYPES)
