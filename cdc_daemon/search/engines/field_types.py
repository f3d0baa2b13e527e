"""Fields of a mapping that only Elasticsearch 8 and later know, as OpenSearch and Elasticsearch 7 can have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_INNER: Final = ("properties", "fields")
"""The members of a field that hold its subfields."""

_ONLY_8: Final = ("index", "similarity")
"""Options of `dense_vector` that Elasticsearch knows from 8.0 on."""

_STORED: Final = {"type": "object", "enabled": False}
"""A field that is in the source of a document and not searched."""


def without_indexed_vectors(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping, or a field, in which each indexed `dense_vector` is stored and not searched.

    OpenSearch has no `dense_vector`. Elasticsearch 7 has none that is indexed, and its open-source build has none. A
    `dense_vector` without the options of Elasticsearch 8 stays: Elasticsearch 7 may know it.
    """
    if mapping.get("type") == "dense_vector" and any(option in mapping for option in _ONLY_8):
        return _STORED
    changed = {
        inner: {
            name: without_indexed_vectors(field) if isinstance(field, Mapping) else field
            for name, field in mapping[inner].items()
        }
        for inner in _INNER
        if isinstance(mapping.get(inner), Mapping)
    }
    return {**mapping, **changed}
