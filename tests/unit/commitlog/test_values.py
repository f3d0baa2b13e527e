from __future__ import annotations

import struct
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from cassandra import cqltypes
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.values import counter_shards, decode_element, decode_path, decode_value, driver_type
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.model.errors import MutationError
from tests.unit.commitlog.strategies import ADDRESS

NODE = UUID(int=0x1234)
OTHER = UUID(int=0x5678)


def typed(text: str) -> Any:
    return parse_type(text, user_types={"address": ADDRESS})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int", 5), ("bigint", -5), ("text", "é"), ("blob", b"\0\1"), ("boolean", True), ("double", 1.5),
        ("uuid", NODE), ("varint", -(1 << 70)), ("decimal", Decimal("1.50")), ("inet", "10.0.0.1"),
        ("smallint", -2), ("tinyint", 7), ("float", 0.5), ("ascii", "a"), ("timeuuid", NODE),
        ("frozen<list<int>>", [1, 2]), ("frozen<map<text, frozen<list<int>>>>", {"k": [1]}),
        ("frozen<tuple<int, text>>", (1, "x")), ("vector<float, 2>", [1.0, 2.0]), ("vector<text, 2>", ["a", ""]),
        ("frozen<address>", ("Main", 5)), ("frozen<set<text>>", {"a", "b"}),
    ],
)  # fmt: skip
def test_values_come_through_the_driver(text: str, value: Any) -> None:
    raw = driver_type(typed(text)).to_binary(value, 4)
    found = decode_value(typed(text), raw)
    assert found == value or dict(found) == value


@pytest.mark.parametrize("text", ["int", "text", "frozen<list<int>>", "counter", "address"])
def test_none_is_none(text: str) -> None:
    assert decode_value(typed(text), None) is None


def test_empty_values() -> None:
    assert decode_value(typed("text"), b"") == ""
    assert decode_value(typed("blob"), b"") == b""
    assert decode_value(typed("int"), b"") is None
    assert decode_value(typed("empty"), b"") == b""


@pytest.mark.parametrize(
    ("text", "raw"),
    [("int", b"\0"), ("uuid", b"\0" * 5), ("text", b"\xff"), ("frozen<list<int>>", b"\0\0\0\5"), ("counter", b"\0"),
     ("counter", b"\0\1\x80\0123"), ("vector<float, 3>", b"\0\0")],
)  # fmt: skip
def test_bytes_that_are_no_value(text: str, raw: bytes) -> None:
    with pytest.raises(MutationError, match="expected"):
        decode_value(typed(text), raw)


ANY = st.sampled_from(["int", "frozen<map<text, int>>", "duration", "inet", "vector<text, 2>", "frozen<address>",
                        "decimal", "time", "date", "counter", "frozen<tuple<int, text>>"])  # fmt: skip


@given(ANY, st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_mutation_error(text: str, raw: bytes) -> None:
    with suppress(MutationError):
        decode_value(typed(text), raw)


def test_paths_and_elements() -> None:
    number = struct.pack(">i", 7)
    assert decode_path(typed("set<int>"), number) == 7
    assert decode_element(typed("set<int>"), number, b"") is None
    assert decode_path(typed("map<int, text>"), number) == 7
    assert decode_element(typed("map<int, text>"), number, b"x") == "x"
    assert decode_path(typed("list<text>"), NODE.bytes) == NODE
    assert decode_element(typed("list<text>"), NODE.bytes, b"x") == "x"
    assert decode_path(typed("address"), b"\0\1") == "zip"
    assert decode_element(typed("address"), b"\0\1", number) == 7
    assert decode_element(typed("address"), b"\0\1", None) is None
    for path in (b"\0\2", b"\0", b"\0\0\0"):
        with pytest.raises(MutationError):
            decode_path(typed("address"), path)


def shard(node: UUID, clock: int, value: int) -> bytes:
    return node.bytes + struct.pack(">qq", clock, value)


def test_counter_shards() -> None:
    context = struct.pack(">hhh", 2, -0x8000, 1) + shard(NODE, 5, 10) + shard(OTHER, 6, -3) + shard(OTHER, 7, 1)
    found = counter_shards(context)
    assert [(each.kind, each.node, each.clock, each.value) for each in found] == [
        ("global", NODE, 5, 10), ("local", OTHER, 6, -3), ("remote", OTHER, 7, 1),
    ]  # fmt: skip
    assert decode_value(typed("counter"), context) == 8
    assert counter_shards(struct.pack(">h", 0)) == ()


@given(st.binary(max_size=120))
def test_any_bytes_are_shards_or_a_mutation_error(context: bytes) -> None:
    with suppress(MutationError):
        assert all(each.kind in {"global", "local", "remote"} for each in counter_shards(context))


def test_the_drivers_classes_are_made_once() -> None:
    assert driver_type(typed("frozen<address>")) is driver_type(typed("frozen<address>"))
    assert driver_type(typed("text")) is cqltypes.UTF8Type
