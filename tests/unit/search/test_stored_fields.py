"""The fields that an engine has no type for are named, wherever they are in the mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engines.field_types import with_flattened_as, without_indexed_vectors
from cdc_daemon.search.stored_fields import only_stored

MAPPING = {
    "dynamic": "strict",
    "properties": {
        "id": {"type": "keyword"},
        "labels": {"type": "flattened", "ignore_above": 8191},
        "home": {"properties": {"labels": {"type": "flattened"}, "zip": {"type": "integer"}}},
        "place": {"type": "dense_vector", "dims": 3, "index": True, "similarity": "l2_norm"},
        "parsed": {"type": "object", "enabled": False},
    },
}


class Engine:
    """An engine with this type for maps, or without one, and without vectors."""

    def __init__(self, flattened: str | None) -> None:
        self._flattened = flattened

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        return with_flattened_as(self._flattened, without_indexed_vectors(mapping))


async def test_maps_and_vectors_without_a_type_are_named_and_what_is_not_to_be_searched_is_not() -> None:
    assert await only_stored(cast("SearchEngine", Engine(None)), MAPPING) == ["home.labels", "labels", "place"]
    assert await only_stored(cast("SearchEngine", Engine("flat_object")), MAPPING) == ["place"]
    assert await only_stored(cast("SearchEngine", Engine(None)), {}) == []
