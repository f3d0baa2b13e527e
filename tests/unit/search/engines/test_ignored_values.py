from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.search.engines.ignored_values import EVERYTHING, without_ignored_term


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (None, EVERYTHING),
        ({"term": {"_ignored": "org"}}, EVERYTHING),
        (
            {"bool": {"should": [{"term": {"_ignored": "org"}}, {"term": {"org": "o1"}}], "minimum_should_match": 1}},
            {"bool": {"should": [EVERYTHING, {"term": {"org": "o1"}}], "minimum_should_match": 1}},
        ),
        (
            {"nested": {"path": "o", "query": {"term": {"_ignored": "o.id"}}}},
            {"nested": {"path": "o", "query": EVERYTHING}},
        ),
        ({"term": {"org": "o1"}},) * 2,
        ({"match": {"org": {"query": "o1"}}},) * 2,
        ({"nested": {"path": "orgs", "query": {"term": {"orgs.id": "o1"}}}},) * 2,
    ],
)
def test_documents_with_a_value_that_nobody_recorded_are_among_all(
    query: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    assert without_ignored_term(query) == expected
