from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.field_types import with_flattened_as, without_indexed_vectors
from cdc_daemon.search.engines.product import flattened_type

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


MAPS = {
    "properties": {"m": {"type": "flattened", "ignore_above": 9}, "o": {"properties": {"m": {"type": "flattened"}}}}
}


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("Elasticsearch", "7.10.2", None),
        ("Elasticsearch", "7.17.29", "flattened"),
        ("Elasticsearch", "8.19.4", "flattened"),
        ("Elasticsearch", "", None),
        ("OpenSearch", "1.3.20", None),
        ("OpenSearch", "2.6.0", None),
        ("OpenSearch", "2.7.0", "flat_object"),
        ("OpenSearch", "3.2.0", "flat_object"),
        ("OpenSearch", "7.10.2", None),
    ],
)
def test_maps_get_the_type_that_the_engine_has(name: str, version: str, expected: str | None) -> None:
    found = flattened_type(Product(name, version))
    assert found == expected
    field = STORED if expected is None else {"type": expected}
    fitted = with_flattened_as(found, MAPS)
    assert fitted == (
        MAPS if expected == "flattened" else {"properties": {"m": field, "o": {"properties": {"m": field}}}}
    )


def test_an_engine_that_was_not_asked_yet_has_no_type_for_maps() -> None:
    assert flattened_type(None) is None
