"""The index field of each CQL type: what the daemon declares by default, and what `types` declares instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cdc_daemon.config.type_names import NUMBERS
from cdc_daemon.model.cql_types import CqlType

ANYTHING: Mapping[str, Any] = {"type": "object", "enabled": False}
"""A field that takes any JSON value, stored but not indexed: for values of unknown type."""

KEYWORD: Mapping[str, Any] = {"type": "keyword", "ignore_above": 8191}
"""A field for whole texts. A longer text (at most three bytes a character) could be too long for Lucene's terms."""

EXACT = "exact"
"""The subfield that holds the exact text of a decimal or varint as a keyword."""

NUMBER: Mapping[str, Any] = {"type": "double", "ignore_malformed": True, "fields": {EXACT: KEYWORD}}
"""A field for decimals and varints. Documents hold their exact text, which the index parses to a number. A number that
is out of range is found by its exact text only: `ignore_malformed` keeps it from rejecting the document."""

FLATTENED: Mapping[str, Any] = {"type": "flattened", "ignore_above": 8191}
"""A field for maps: their keys are data, and a field for each would grow the mapping without bound. Longer values are
stored and not indexed."""

DEEPEST = 15
"""The most objects inside each other in a flattened field (its `depth_limit` is 20 in Elasticsearch)."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "bigint": {"type": "long"},
    "blob": {"type": "binary"},
    "boolean": {"type": "boolean"},
    "counter": {"type": "long"},
    "date": {"type": "date"},
    "decimal": NUMBER,
    "double": {"type": "double"},
    "float": {"type": "float"},
    "int": {"type": "integer"},
    "map": FLATTENED,
    "smallint": {"type": "short"},
    "timestamp": {"type": "date"},
    "tinyint": {"type": "byte"},
    "tuple": ANYTHING,
    "varint": NUMBER,
}
"""The fields by CQL type; other types are keywords."""

FORMER: Mapping[str, Mapping[str, Any]] = {"decimal": KEYWORD, "map": ANYTHING, "varint": KEYWORD}
"""The defaults of version 0.1 that have changed since. An index that has them is not reported as different."""

DIMENSIONS_LIMIT: Final = 4096
"""Maximum dimensions of an indexed vector (documentation of `dense_vector`, Elasticsearch 8.19)."""


class FieldTypes:
    """Makes the index fields of CQL types. `declared` holds fields by the types' names, in place of the defaults.

    With `former`, the defaults are those that earlier versions had.
    """

    def __init__(self, declared: Mapping[str, Mapping[str, Any]] | None = None, *, former: bool = False) -> None:
        fields = {**DEFAULTS, **(FORMER if former else {})}
        fields |= {name: _with_exact_text(name, field) for name, field in (declared or {}).items()}
        self._fields = fields

    def of(self, kind: CqlType, rename: Callable[[str], str] = str) -> dict[str, Any]:
        """Return the index field for the JSON values of a CQL type. `rename` names the fields of user types."""
        match kind.name:
            case "list" | "set":
                return self.of(kind.parameters[0], rename)
            case "udt":
                fields = zip(kind.field_names, kind.parameters, strict=True)
                return {"properties": {rename(name): self.of(field, rename) for name, field in fields}}
            case "map" if self._fields["map"] is FLATTENED and _depth(kind) > DEEPEST:
                return dict(ANYTHING)
            case "vector" if "vector" not in self._fields:
                return _vector_mapping(kind)
            case "text" | "ascii" if kind.name not in self._fields:
                return text_mapping()
            case name:
                return dict(self._fields.get(name, KEYWORD))


DEFAULT_TYPES = FieldTypes()
"""The fields without any declaration."""


def text_mapping() -> dict[str, Any]:
    """Return the field for a text that is searchable by word and as a whole."""
    return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


def has_flattened(field: Mapping[str, Any]) -> bool:
    """Return whether a field is flattened, or has a flattened field inside."""
    inner = field.get("properties")
    return field.get("type") == "flattened" or (isinstance(inner, Mapping) and any(map(has_flattened, inner.values())))


def _with_exact_text(name: str, field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a declared field; a number for decimals or varints also has what keeps it from losing or rejecting any."""
    if name in {"decimal", "varint"} and field.get("type") in NUMBERS:
        return {"ignore_malformed": True, "fields": {EXACT: KEYWORD}, **field}
    return field


def _depth(kind: CqlType) -> int:
    return 1 + max((_depth(each) for each in kind.parameters), default=0)


def _vector_mapping(kind: CqlType) -> dict[str, Any]:
    if kind.parameters[0].name not in {"float", "double"} or kind.dimension > DIMENSIONS_LIMIT:
        return dict(ANYTHING)
    # The default similarity, cosine, is not used: it rejects documents with a vector of length zero.
    return {"type": "dense_vector", "dims": kind.dimension, "index": True, "similarity": "l2_norm"}
