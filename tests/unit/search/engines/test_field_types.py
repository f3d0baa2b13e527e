from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.search.engines.field_types import without_indexed_vectors

INDEXED = {"type": "dense_vector", "dims": 3, "index": True, "similarity": "l2_norm"}
STORED = {"type": "object", "enabled": False}


@pytest.mark.parametrize(
    ("declared", "fitting"),
    [
        ({}, {}),
        ({"properties": {"v": INDEXED}}, {"properties": {"v": STORED}}),
        ({"properties": {"a": {"properties": {"v": INDEXED}}}}, {"properties": {"a": {"properties": {"v": STORED}}}}),
        ({"dynamic": "strict", "properties": {"n": {"type": "long"}}},) * 2,
        ({"properties": {"v": {"type": "dense_vector", "dims": 3}}},) * 2,
        ({"properties": {"t": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}},) * 2,
        ({"properties": None},) * 2,
        ({"properties": {"a": None}},) * 2,
    ],
)
def test_vectors_that_are_indexed_are_stored_only(declared: dict[str, Any], fitting: dict[str, Any]) -> None:
    assert without_indexed_vectors(declared) == fitting
