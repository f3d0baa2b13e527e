from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.table import Column, TableMetadata
from cdc_daemon.model.cql_types import CqlType
from sandbox.compare import EXAMPLES, Comparison, Differences, _Ids, differing, join_key


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        ({"a": 1, "b": {"x": [1], "y": None}}, {"b": {"y": None, "x": [1]}, "a": 1}, ""),
        ({"a": 1}, {"a": True}, "a: 1 in Cassandra, true in Elasticsearch"),
        ({"a": 1}, {"a": 1.0}, "a: 1 in Cassandra, 1.0 in Elasticsearch"),
        ({"a": None}, {}, "a: null in Cassandra, absent in Elasticsearch"),
        ({}, {"a": None}, "a: absent in Cassandra, null in Elasticsearch"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a: [1,2] in Cassandra, [2,1] in Elasticsearch"),
    ],
)
def test_documents_are_equal_as_json_or_told_apart(
    expected: dict[str, object], actual: dict[str, object], told: str
) -> None:
    assert differing(expected, actual) == told


def test_long_values_are_cut_in_what_is_told() -> None:
    told = differing({"a": "x" * 1000}, {"a": "y" * 1000})

    assert len(told) < 300
    assert "xxx..." in told


def test_differences_are_counted_and_some_are_told() -> None:
    comparison = Comparison("user", rows=20, documents=13)
    for number in range(EXAMPLES + 2):
        comparison.missing.add(f"id-{number}")
    comparison.different.add("id-9: a: 1 in Cassandra, 2 in Elasticsearch")

    assert not comparison.is_equal
    lines = str(comparison).splitlines()
    assert lines[0] == "user: NOT EQUAL, 20 rows, 13 documents"
    assert lines[1] == f"  missing: {EXAMPLES + 2}"
    assert lines[1 + EXAMPLES :] == [
        f"    id-{EXAMPLES - 1}",
        "    ...",
        "  different: 1",
        "    id-9: a: 1 in Cassandra, 2 in Elasticsearch",
    ]


@pytest.mark.parametrize("kind", ["missing", "extra", "different"])
def test_one_difference_of_any_kind_is_not_equal(kind: str) -> None:
    comparison = Comparison("user")
    assert comparison.is_equal
    assert str(comparison) == "user: EQUAL, 0 rows, 0 documents"
    differences: Differences = getattr(comparison, kind)
    differences.add("x")
    assert not comparison.is_equal


@given(st.sets(st.text()), st.sets(st.text()))
def test_the_set_of_ids_is_a_set(known: set[str], asked: set[str]) -> None:
    known = {text for text in known if text.isprintable()}
    asked = {text for text in asked if text.isprintable()}
    with closing(_Ids()) as ids:
        ids.add(known)
        ids.add(known)
        assert set(ids.without(asked)) == asked - known


@given(st.lists(st.binary(max_size=300), min_size=2, max_size=4))
def test_composite_keys_are_joined_as_the_commit_log_has_them(parts: list[bytes]) -> None:
    columns = tuple(Column(f"k{at}", b"k%d" % at, CqlType("blob"), "partition_key", at) for at in range(len(parts)))
    table = TableMetadata(b"\0" * 16, "ks", "t", columns, (), (), ())

    assert table.split_key(join_key(parts)) == tuple(parts)
