"""What two counts of documents tell of each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.tablejobs.census import Census

IDS = st.lists(st.text(max_size=5), max_size=50)


def count(identities: list[str]) -> Census:
    census = Census()
    census.add(identities)
    return census


@given(IDS)
def test_the_same_documents_agree_in_whatever_order(identities: list[str]) -> None:
    shuffled = sorted(identities, key=hash)
    assert not count(identities).differing(count(shuffled))


@given(st.sets(st.text(max_size=5), max_size=50), st.sets(st.text(max_size=5), max_size=50))
def test_each_document_that_one_has_not_seen_is_in_a_bucket_that_differs(one: set[str], other: set[str]) -> None:
    differing = count(sorted(one)).differing(count(sorted(other)))
    assert {Census.bucket(each) for each in one ^ other} == set(differing)


def test_a_document_that_is_there_twice_is_seen() -> None:
    assert count(["a", "b"]).differing(count(["a", "b", "b"])) == {Census.bucket("b")}
