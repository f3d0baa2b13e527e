"""Fields of a mapping that only some engines know, as OpenSearch and Elasticsearch 7 can have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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
    return _with_inner(mapping, without_indexed_vectors)


def with_flattened_as(name: str | None, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping, or a field, in which each `flattened` field has the engine's type of this name.

    OpenSearch's `flat_object` has no options. Without a name, the field is stored and not searched.
    """
    if name == "flattened":
        return mapping
    if mapping.get("type") == "flattened":
        return _STORED if name is None else {"type": name}
    return _with_inner(mapping, partial(with_flattened_as, name))


def _with_inner(mapping: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    changed = {
        inner: {name: change(field) if isinstance(field, Mapping) else field for name, field in mapping[inner].items()}
        for inner in _INNER
        if isinstance(mapping.get(inner), Mapping)
    }
    return {**mapping, **changed}
