"""Values of key columns: the values of a request and the bytes that Cassandra stores."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.values import decode_value
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.sources.requests.key_encoding import encoder
from cdc_daemon.values.cql_json import key_converter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TYPES = [
    *("ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "float", "inet", "int", "smallint"),
    *("text", "time", "timestamp", "timeuuid", "tinyint", "uuid", "varint"),
    *("frozen<list<int>>", "frozen<map<text, double>>", "frozen<tuple<date, inet>>", "vector<float, 2>"),
]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ascii", "abc"),
        ("bigint", "-9223372036854775808"),
        ("blob", "AAH/"),
        ("boolean", "true"),
        ("boolean", "false"),
        ("date", "2024-02-29"),
        ("date", "1969-12-31"),
        ("decimal", "1.50"),
        ("decimal", "-0.0001"),
        ("double", "1.5"),
        ("double", "NaN"),
        ("double", "-Infinity"),
        ("float", "Infinity"),
        ("float", "-2.5"),
        ("inet", "127.0.0.1"),
        ("inet", "::1"),
        ("int", "2147483647"),
        ("smallint", "-32768"),
        ("text", "Grüße, 世界"),
        ("text", ""),
        ("time", "09:30:00.000000001"),
        ("timestamp", "2024-05-17T09:30:00.123Z"),
        ("timestamp", "1969-12-31T23:59:59.999Z"),
        ("timeuuid", "8d1f1d00-1dd2-11b2-8080-808080808080"),
        ("tinyint", "-128"),
        ("uuid", "2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd"),
        ("varint", "123456789012345678901234567890"),
        ("varint", "-" + "7" * 5000),
        ("date", "+5881580-07-11"),
        ("date", "-5877641-06-23"),
        ("date", "0000-02-29"),
        ("decimal", "1." + "5" * 4000),
        ("decimal", "1E+2147483648"),
        ("decimal", "1E-2147483647"),
        ("uuid", "null"),
        ("timestamp", "null"),
        ("int", "null"),
        ("text", "null"),
        ("frozen<list<int>>", "[1,-2]"),
        ("frozen<set<varint>>", '["-3","12345678901234567890123"]'),
        ("frozen<map<date, frozen<list<decimal>>>>", '{"2024-02-29":["1.50"],"+10000-01-01":[]}'),
        ("frozen<tuple<text, int, boolean>>", '["a",null,true]'),
        ("frozen<map<double, blob>>", '{"NaN":"AAH/","1.5":""}'),
        ("vector<float, 2>", '[1.5,"NaN"]'),
        ("vector<text, 2>", '["","é"]'),
    ],
)
def test_what_an_id_shows_is_read_back(kind: str, text: str) -> None:
    found = decode_value(parse_type(kind), encoder(parse_type(kind))(text))
    assert key_converter(parse_type(kind))(found) == text


def test_a_user_type_is_read_back() -> None:
    kind = CqlType(
        "udt", (CqlType("text"), CqlType("int")), keyspace="k", type_name="t", field_names=("class", "number")
    )
    text = '{"class":"a","number":null}'
    assert encoder(kind)(text) == b"\0\0\0\1a\xff\xff\xff\xff"
    assert key_converter(kind)(decode_value(kind, encoder(kind)(text))) == text


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 7, b"\0\0\0\7"),
        ("boolean", True, b"\1"),
        ("timestamp", 1, b"\0\0\0\0\0\0\0\1"),
        ("timestamp", "1970-01-01T01:00:00.001+01:00", b"\0\0\0\0\0\0\0\1"),
        ("double", 1, b"\x3f\xf0\0\0\0\0\0\0"),
        ("inet", "::ffff:1.2.3.4", b"\1\2\3\4"),
        ("uuid", "2BC4A3C4-7C92-4D52-A5F5-5DD0A3C1F7BD", uuid.UUID("2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd").bytes),
    ],
)
def test_other_spellings(kind: str, value: Any, expected: bytes) -> None:
    assert encoder(CqlType(kind))(value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ascii", "ü"),
        ("bigint", "9223372036854775808"),
        ("blob", "not base64!"),
        ("boolean", 1),
        ("date", "2024-02-30"),
        ("date", "2024-1-1"),
        ("decimal", "NaN"),
        ("decimal", "1e99999999999"),
        ("double", "inf"),
        ("float", 1e300),
        ("inet", "fe80::1%eth0"),
        ("inet", "localhost"),
        ("int", "1.0"),
        ("int", True),
        ("int", "+1"),
        ("int", " 1"),
        ("int", "\u0661"),
        ("smallint", 32768),
        ("text", 5),
        ("text", "\ud800"),
        ("time", "25:00:00"),
        ("timestamp", "soon"),
        ("timestamp", "2024-05-17T09:30:00.1234Z"),
        ("timestamp", 2**63),
        ("timeuuid", "2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd"),
        ("uuid", "{2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd}"),
        ("uuid", "2bc4a3c47c924d52a5f55dd0a3c1f7bd"),
        ("uuid", ""),
        ("varint", "9" * 157_825),
        ("varint", "null "),
        ("text", None),
        ("uuid", None),
        ("date", "+5881581-01-01"),
        ("decimal", "9" * 5000),
    ],
)
def test_values_of_another_type(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^(an?|bytes|true) "):
        encoder(CqlType(kind))(value)


@given(kind=st.sampled_from(TYPES), value=JSON)
def test_any_value_is_taken_or_refused(kind: str, value: Any) -> None:
    with suppress(ValueError):
        assert isinstance(encoder(parse_type(kind))(value), bytes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("frozen<list<int>>", "[1"),
        ("frozen<list<int>>", "{}"),
        ("frozen<list<int>>", 5),
        ("frozen<list<int>>", ["x"]),
        ("frozen<map<text, int>>", "[]"),
        ("frozen<map<text, int>>", None),
        ("frozen<tuple<int>>", [1, 2]),
        ("vector<float, 2>", [1.0]),
    ],
)
def test_values_of_another_nested_type(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^(a|at most|2) "):
        encoder(parse_type(kind))(value)


def test_a_type_that_no_text_stands_for() -> None:
    with pytest.raises(ValueError, match="custom"):
        encoder(CqlType("custom", type_name="custom"))("x")
