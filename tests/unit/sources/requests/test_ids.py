"""Ids of requests and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.identity import Identity
from cdc_daemon.model.signal import Scope
from cdc_daemon.sources.requests import InvalidIdError
from cdc_daemon.sources.requests.ids import IdParser
from tests.unit.http.fake import table

TEXTS = st.text(alphabet=st.sampled_from("ab:\\_-"), max_size=6)


def identifiers(partition: Mapping[str, str], clustering: Mapping[str, str] | None = None, **mapping: Any) -> IdParser:
    found = table("t", partition, clustering)
    settings = MappingSettings.model_validate({"table": "sunbird.t", "alias": "a", **mapping})
    return IdParser(settings, found)


def key_of(reader: IdParser, identity: Any) -> tuple[bytes, tuple[bytes | None, ...] | None]:
    key = reader.parse_one(identity).key
    return key.partition_key, key.clustering


def test_a_single_column() -> None:
    reader = identifiers({"id": "text"})
    asked = reader.parse_one("a:b_c")
    assert (asked.label, asked.key.partition_key, asked.key.clustering) == ("a:b_c", b"a:b_c", ())
    assert asked.signal.scope is Scope.ROW
    assert asked.signal.written == 0
    assert key_of(reader, {"id": "x"}) == (b"x", ())


def test_several_partition_columns_are_one_composite() -> None:
    reader = identifiers({"a": "text", "b": "int"})
    assert key_of(reader, "x:7") == (b"\0\1x\0\0\4\0\0\0\7\0", ())
    assert key_of(reader, {"b": 7, "a": "x"}) == key_of(reader, "x:7")


def test_a_partition_alone_means_all_its_rows() -> None:
    reader = identifiers({"p": "text"}, {"c": "int"})
    assert key_of(reader, "x:7") == (b"x", (b"\0\0\0\7",))
    assert key_of(reader, "x") == (b"x", None)
    assert key_of(reader, {"p": "x"}) == (b"x", None)
    assert reader.parse_one("x").signal.scope is Scope.STATIC
    assert key_of(reader, "a\\:b\\\\") == (b"a:b\\", None)


@pytest.mark.parametrize(
    "template", [None, "{p}_{c}_{d}", "{d}-{c}::{p}", "u{p}__{c}ab{d}!", "{p}{{x}}{c} {d}", "{c}:{p}:{d}:{c}"]
)
@given(values=st.tuples(TEXTS.filter(bool), TEXTS, st.integers(-20, 20)))
def test_each_id_that_the_daemon_makes_is_read_back(template: str | None, values: tuple[str, str, int]) -> None:
    found = table("t", {"p": "text"}, {"c": "text", "d": "int"})
    reader = identifiers({"p": "text"}, {"c": "text", "d": "int"}, id=template)
    clustering = (values[1].encode(), values[2].to_bytes(4, "big", signed=True))
    assert key_of(reader, Identity(found, template).of(values)) == (values[0].encode(), clustering)
    assert key_of(reader, dict(zip("pcd", values, strict=True))) == (values[0].encode(), clustering)


@pytest.mark.parametrize("template", [None, "{p}_{q}_{c}", "{q}--{p}!{c}", "x{p}:{q}:{p}_{c}"])
@given(values=st.tuples(TEXTS, TEXTS, TEXTS))
def test_composite_partitions_are_read_back(template: str | None, values: tuple[str, str, str]) -> None:
    types: tuple[Mapping[str, str], Mapping[str, str]] = ({"p": "text", "q": "text"}, {"c": "text"})
    key = identifiers(*types, id=template).parse_one(Identity(table("t", *types), template).of(values)).key
    assert table("t", *types).split_key(key.partition_key) == (values[0].encode(), values[1].encode())
    assert key.clustering == (values[2].encode(),)


@given(value=TEXTS.filter(bool))
def test_the_beginning_of_an_id_means_the_partition(value: str) -> None:
    types: tuple[Mapping[str, str], Mapping[str, str]] = ({"p": "text"}, {"c": "text"})
    for template, separator in ((None, ":"), ("{p}_{c}", "_"), ("-{p}ab{c}!", "ab")):
        whole = Identity(table("t", *types), template).of((value, "1"))
        beginning = whole.rsplit(separator, 1)[0]
        assert key_of(identifiers(*types, id=template), beginning) == (value.encode(), None)


def test_a_template() -> None:
    reader = identifiers({"courseid": "text"}, {"batchid": "text"}, id="{courseid}_{batchid}")
    assert key_of(reader, "c_b") == (b"c", (b"b",))
    assert key_of(reader, "c") == (b"c", None)
    assert key_of(reader, "c_b_d") == (b"c", (b"b_d",))
    assert key_of(reader, "c\\_b_d") == (b"c_b", (b"d",))
    assert key_of(reader, {"courseid": "c_b", "batchid": "d"}) == (b"c_b", (b"d",))


def test_a_part_of_another_type_is_named() -> None:
    reader = identifiers({"name": "text"}, {"number": "int"}, id="u_{name}_{number}")
    assert key_of(reader, "u_a\\_b_7") == (b"a_b", (b"\0\0\0\7",))
    with pytest.raises(InvalidIdError, match="expected a whole number") as caught:
        reader.parse_one("u_a_b_7")
    assert caught.value.column == "number"
    with pytest.raises(InvalidIdError, match=r"expected an id like u_\{name\}_\{number\}"):
        reader.parse_one("x")


def test_a_template_that_leaves_columns_out_means_the_rows_of_the_partition_it_names() -> None:
    reader = identifiers({"userid": "text"}, {"courseid": "text", "batchid": "text"}, id="{batchid}_{userid}")
    assert key_of(reader, "b_u") == (b"u", None)
    assert key_of(reader, {"userid": "u", "courseid": "c", "batchid": "b"}) == (b"u", (b"c", b"b"))
    with pytest.raises(InvalidIdError, match="expected an object with userid, courseid and batchid"):
        reader.parse_one("u")


def test_where_a_template_leaves_the_partition_out_a_text_is_its_key() -> None:
    reader = identifiers({"courseid": "text"}, {"batchid": "text"}, id="{batchid}")
    assert key_of(reader, "do_1") == (b"do_1", None), "as the live services read it"
    assert key_of(reader, {"courseId": "do_1", "batchId": "b"}) == (b"do_1", (b"b",))
    several = identifiers({"tenant": "text", "courseid": "text"}, {"batchid": "text"}, id="{batchid}")
    with pytest.raises(InvalidIdError, match="expected an object with tenant, courseid and batchid"):
        several.parse_one("b")


def test_a_template_of_the_partition_alone_means_all_its_rows() -> None:
    reader = identifiers({"userid": "text"}, {"courseid": "text"}, id="user-{userid}")
    assert key_of(reader, "user-u_1") == (b"u_1", None)


def test_columns_by_their_fields_and_in_any_case() -> None:
    reader = identifiers({"courseid": "text"}, {"batchid": "text"}, fields={"batchid": "batch"})
    assert key_of(reader, {"courseId": "c", "batch": "b"}) == (b"c", (b"b",))
    assert reader.parse_one({"COURSEID": "c:1", "batchid": "b"}).label == "c\\:1:b"
    with pytest.raises(InvalidIdError, match="found it twice"):
        reader.parse_one({"courseid": "c", "courseId": "c"})


def test_columns_by_what_names_calls_them() -> None:
    reader = identifiers({"course_id": "text"}, {"batch_id": "text"}, names="camel", fields={"batch_id": "batch"})
    for course, batch in (("courseId", "batch"), ("course_id", "batch_id"), ("COURSEID", "Batch")):
        assert key_of(reader, {course: "c", batch: "b"}) == (b"c", (b"b",))


@pytest.mark.parametrize(
    ("identity", "column"),
    [
        (5, None),
        (None, None),
        ([], None),
        ({}, None),
        ({"c": 1}, None),
        ({"p": "x", "q": 1}, None),
        ({"p": 5, "c": 1}, "p"),
        ("x:no", "c"),
        ("x:1:2", None),
        ("", "p"),
        (":1", "p"),
        ("x" * 70_000, "p"),
    ],
)
def test_ids_that_are_none(identity: Any, column: str | None) -> None:
    with pytest.raises(InvalidIdError) as caught:
        identifiers({"p": "text"}, {"c": "int"}).parse(["x:1", identity])
    assert (caught.value.at, caught.value.column) == (1, column)
    assert len(caught.value.message) < 400


@given(identity=st.text() | st.dictionaries(st.sampled_from(["p", "c", "P", "x"]), st.text() | st.integers()))
def test_any_id_is_read_or_refused(identity: Any) -> None:
    for reader in (identifiers({"p": "text"}, {"c": "text"}), identifiers({"p": "text"}, {"c": "text"}, id="{p}-{c}")):
        with suppress(InvalidIdError):
            assert reader.parse_one(identity).key.partition_key
