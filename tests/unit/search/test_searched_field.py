from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.search.searched_field import SearchedField, find_field

MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "runtime": {"worked_out": {"type": "keyword"}},
    "properties": {
        "key": {"type": "keyword"},
        "short": {"type": "keyword", "ignore_above": 10},
        "number": {"type": "long"},
        "words": {"type": "text"},
        "ngrams": {"type": "text", "analyzer": "ngrams", "search_analyzer": "standard"},
        "both": {
            "type": "text",
            "fields": {
                "keyword": {"type": "keyword", "ignore_above": 256},
                "raw": {"type": "keyword"},
                "kept": {"type": "keyword", "index": False},
            },
        },
        "made": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
        "other": {"type": "alias", "path": "orgs.id"},
        "labels": {"type": "flattened"},
        "flat": {"type": "flat_object"},
        "price": {"type": "double", "fields": {"exact": {"type": "keyword", "ignore_above": 8191}}},
        "free": {"type": "object", "enabled": False},
        "open": {"type": "object", "dynamic": True, "properties": {}},
        "hidden": {"type": "keyword", "index": False, "doc_values": False},
        "slow": {"type": "keyword", "index": False},
        "vector": {"type": "dense_vector", "dims": 3},
        "orgs": {"type": "nested", "properties": {"id": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
    },
}


def term(field: str, value: Any = "A-1") -> dict[str, Any]:
    return {"term": {field: value}}


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("key", term("key")),
        ("short", term("short")),
        ("both", term("both.raw")),  # the one that keeps every value
        ("both.keyword", term("both.keyword")),
        ("made", term("made.keyword")),
        ("labels.org", term("labels.org")),
        ("flat.org", term("flat.org")),
        ("price", term("price.exact")),
        ("open.org", term("open.org")),
        ("slow", term("slow")),
        ("worked_out", term("worked_out")),
        ("orgs.id", {"nested": {"path": "orgs", "query": term("orgs.id.raw")}}),
        ("other", {"nested": {"path": "orgs", "query": term("orgs.id.raw")}}),
    ],
)
def test_fields_that_answer_exactly(field: str, query: dict[str, Any]) -> None:
    found = find_field(MAPPING, field)
    assert (found.query("A-1"), found.problem, found.answers) == (query, None, True)


def test_numbers_are_asked_for_as_they_are() -> None:
    assert find_field(MAPPING, "number").query(5) == term("number", 5)


def test_values_that_are_too_long_for_a_field_are_among_those_it_ignored() -> None:
    assert find_field(MAPPING, "short").query("x" * 11) == term("_ignored", "short")
    assert find_field(MAPPING, "made").query("x" * 257) == term("_ignored", "made.keyword")
    assert find_field(MAPPING, "both").query("x" * 257) == term("both.raw", "x" * 257)


@pytest.mark.parametrize(("field", "words"), [("words", "by words"), ("ngrams", "too few")])
def test_text_alone_is_searched_by_words_and_that_is_said(field: str, words: str) -> None:
    found = find_field(MAPPING, field)
    assert found.query("A-1") == {"match": {field: {"query": "A-1", "operator": "and", "zero_terms_query": "all"}}}
    assert found.answers
    assert found.problem is not None
    assert words in found.problem


@pytest.mark.parametrize(
    "field", ["absent", "key.absent", "orgs.absent", "free", "free.org", "hidden", "vector", "orgs", "both.absent"]
)
def test_fields_that_do_not_answer(field: str) -> None:
    found = find_field(MAPPING, field)
    assert not found.answers
    assert found.problem is not None
    assert field in found.problem


def test_a_field_may_come_with_the_documents() -> None:
    assert find_field({}, "org") == find_field({"dynamic": "true"}, "org") == SearchedField("org")
    assert not find_field({"dynamic": False}, "org").answers
