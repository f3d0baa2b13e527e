"""Documents' keys, also of documents older than their table's present key, and sums that compare sets of ids."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import MappingSettings
from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, PARTITION_FIELD
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.search.engine import StoredDocument
from cdc_daemon.tablejobs.document_ids import DocumentKeys, IdSums, lasting_digest
from tests.unit.document.tables import table

TABLE = TableName("sunbird", "t")
IDS = st.lists(st.text(max_size=5), max_size=50)


def keys() -> DocumentKeys:
    settings = MappingSettings(table=TABLE, alias="a")
    return DocumentKeys(
        DocumentMapping("m", settings, table(("p", "int", "partition_key"), ("c", "int", "clustering"))), settings
    )


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("source", "identity", "key"),
    [
        ({PARTITION_FIELD: number(1).hex(), CLUSTERING_FIELD: [number(2).hex()]}, "1:2", (1, 2)),
        ({PARTITION_FIELD: b"text".hex(), CLUSTERING_FIELD: [b"no number".hex()]}, "text:no number", None),
        ({PARTITION_FIELD: number(1).hex(), CLUSTERING_FIELD: []}, "1", None),
        ({PARTITION_FIELD: "no hex", CLUSTERING_FIELD: [number(2).hex()]}, "3:4", (3, 4)),
        ({}, "1:2", (1, 2)),
    ],
)
def test_the_key_of_a_document(source: dict[str, Any], identity: str, key: tuple[int, int] | None) -> None:
    expected = None if key is None else Key(TABLE, number(key[0]), (number(key[1]),))
    document = StoredDocument(id=identity, version=1, routing=None, source=source)
    assert keys().of(document) == expected


def sums_of(identities: list[str]) -> IdSums:
    sums = IdSums()
    sums.add(identities)
    return sums


@given(IDS)
def test_the_same_documents_agree_in_whatever_order(identities: list[str]) -> None:
    shuffled = sorted(identities, key=hash)
    assert not sums_of(identities).differing(sums_of(shuffled))


@given(st.sets(st.text(max_size=5), max_size=50), st.sets(st.text(max_size=5), max_size=50))
def test_each_document_that_one_has_not_seen_is_in_a_bucket_that_differs(one: set[str], other: set[str]) -> None:
    differing = sums_of(sorted(one)).differing(sums_of(sorted(other)))
    assert {IdSums().bucket(each) for each in one ^ other} == set(differing)


def test_a_document_that_is_there_twice_is_seen() -> None:
    assert sums_of(["a", "b"]).differing(sums_of(["a", "b", "b"])) == {IdSums().bucket("b")}


@given(IDS, IDS)
def test_stored_sums_are_continued(one: list[str], other: list[str]) -> None:
    first = IdSums(lasting_digest("a job"))
    first.add(one)
    later = IdSums(lasting_digest("a job"), stored=first.dump())
    later.add(other)
    whole = IdSums(lasting_digest("a job"))
    whole.add([*other, *one])
    assert later.differing(whole) == set()


def test_another_salt_gives_other_sums() -> None:
    assert lasting_digest("one")("id") != lasting_digest("other")("id")
    assert 0 <= lasting_digest("one")("\ud800") < 1 << 64
