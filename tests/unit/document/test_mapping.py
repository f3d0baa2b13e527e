from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.bookkeeping import (
    CLUSTERING_FIELD,
    KEY_FIELD,
    LONGEST_PARTITION_TERM,
    PARTITION_FIELD,
    partition_term,
)
from cdc_daemon.document.identity import Identity
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ConfigError, DocumentError
from cdc_daemon.model.signal import TableName
from tests.unit.document.tables import ENROLMENT, USER

USER_COLUMNS = ("id", "firstname", "flags", "tags")


def mapping(of: TableMetadata, **settings: Any) -> DocumentMapping:
    return DocumentMapping("type", MappingSettings(table=TableName("sunbird", "t"), alias="a", **settings), of)


def source(made: DocumentMapping, row: tuple[Any, ...], columns: tuple[str, ...] = USER_COLUMNS) -> dict[str, Any]:
    body = made.compile(columns)(row, (b"u1", ()), 0, 0.0).body
    assert body is not None
    found: dict[str, Any] = orjson.loads(body)
    return found


def test_every_column_is_a_field_unless_said_otherwise() -> None:
    row = ("u1", "Asha", 3, {"a"})
    assert source(mapping(USER), row) == {"id": "u1", "firstname": "Asha", "flags": 3, "tags": ["a"]}


def test_fields_are_renamed() -> None:
    made = mapping(USER, fields={"firstname": "firstName"})
    assert source(made, ("u1", "Asha", None, None))["firstName"] == "Asha"


def test_only_included_columns_are_shown() -> None:
    assert source(mapping(USER, include=("id", "flags")), ("u1", "Asha", 3, None)) == {"id": "u1", "flags": 3}


def test_excluded_columns_are_not_shown() -> None:
    assert "firstname" not in source(mapping(USER, exclude=("firstname",)), ("u1", "Asha", 3, None))


def test_nulls_are_kept_or_dropped() -> None:
    row = ("u1", None, None, None)
    assert source(mapping(USER), row) == {"id": "u1", "firstname": None, "flags": None, "tags": None}
    assert source(mapping(USER, nulls="drop"), row) == {"id": "u1"}


def test_a_column_dropped_since_is_left_out_and_the_rest_stays_in_place() -> None:
    assert source(mapping(USER), ("u1", 3), ("id", "flags")) == {"id": "u1", "flags": 3}


def test_a_column_added_since_is_not_shown() -> None:
    found = source(mapping(USER), ("u1", "new", "Asha", 3, None), ("id", "added", "firstname", "flags", "tags"))
    assert found == {"id": "u1", "firstname": "Asha", "flags": 3, "tags": None}


@pytest.mark.parametrize("part", ["fields", "include", "exclude"])
def test_an_unknown_column_is_an_error_with_the_nearest_right_name(part: str) -> None:
    named: Any = {"firstnam": "firstName"} if part == "fields" else ("firstnam",)
    with pytest.raises(ConfigError, match="'firstnam'") as caught:
        mapping(USER, **{part: named})
    assert caught.value.hint == "did you mean 'firstname'?"


def test_two_columns_cannot_share_a_field() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        mapping(USER, fields={"firstname": "flags"})


def test_documents_of_a_table_with_clustering_carry_their_key() -> None:
    made = mapping(ENROLMENT)
    columns = ("userid", "courseid", "batch", "note", "progress")
    row = ("u1", "c1", 7, None, 50)
    built = made.compile(columns)(row, (b"u1", (b"c1", b"\x00\x00\x00\x07")), 0, 0.0).body
    assert built is not None
    body = orjson.loads(built)
    assert body[PARTITION_FIELD] == partition_term(b"u1")
    assert body[CLUSTERING_FIELD] == ["6331", "00000007"]
    assert set(made.bookkeeping) == {KEY_FIELD, PARTITION_FIELD, CLUSTERING_FIELD}
    assert set(mapping(USER).bookkeeping) == {KEY_FIELD}


@given(key=st.binary(max_size=65_535))
def test_a_partition_s_term_fits_lucene(key: bytes) -> None:
    assert len(partition_term(key)) <= LONGEST_PARTITION_TERM


def test_the_id_is_the_key_column_as_it_is_when_there_is_one() -> None:
    assert mapping(USER).id_of(("a:b",)) == "a:b"


def test_a_template_makes_the_id_from_key_columns() -> None:
    assert mapping(ENROLMENT, id="{batch}_{userid}").id_of(("u1", "c1", 7)) == "7_u1"


def test_a_template_may_not_name_other_columns() -> None:
    with pytest.raises(ConfigError, match="progress"):
        mapping(ENROLMENT, id="{progress}")


KEYS = st.tuples(st.text(max_size=4, alphabet=":\\ab"), st.text(max_size=4, alphabet=":\\ab"), st.integers(0, 20))


@given(one=KEYS, other=KEYS)
def test_two_keys_never_give_one_id(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    identity = Identity(ENROLMENT, None)
    assert (identity.of(one) == identity.of(other)) == (one == other)


def test_an_empty_id_is_a_document_error() -> None:
    with pytest.raises(DocumentError, match="empty"):
        mapping(USER).id_of(("",))


@pytest.mark.parametrize("key", ["x" * 513, "é" * 257, "sha256:0"])
def test_an_id_that_is_too_long_or_looks_hashed_is_hashed_and_its_readable_form_kept(key: str) -> None:
    made = mapping(USER)
    identity = made.id_of((key,))
    assert identity == "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    assert source(made, (key, None, None, None))[KEY_FIELD] == key


def test_an_id_of_512_bytes_is_taken() -> None:
    assert mapping(USER).id_of(("x" * 512,)) == "x" * 512


def test_a_value_that_cannot_be_json_is_a_document_error() -> None:
    with pytest.raises(DocumentError, match="JSON"):
        source(mapping(USER), ("u1", "\ud800", None, None))


def test_the_index_mapping_is_strict_and_follows_the_columns_types() -> None:
    made = mapping(USER, fields={"firstname": "firstName"}).index_mapping()
    assert made["dynamic"] == "strict"
    assert made["properties"]["flags"] == {"type": "integer"}
    assert made["properties"]["firstName"]["type"] == "text"
    assert made["properties"]["tags"] == made["properties"]["firstName"]
    assert set(made["properties"]) == {"id", "firstName", "flags", "tags"}
