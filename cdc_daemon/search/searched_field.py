"""How an index can find the documents with a value in a field: exactly, by the value's words, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import attempting

_TEXTS = frozenset(("text", "match_only_text", "search_as_you_type"))
_FLATTENED = frozenset(("flattened", "flat_object"))
_NUMBERS = frozenset(("double", "float", "half_float", "scaled_float"))
_NOT_SEARCHED = frozenset(("object", "nested", "binary", "dense_vector"))
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class SearchedField:
    """The field to search for a value: `name` is the field itself or a keyword subfield with whole values.

    If `by_words` is true, the field is analysed: documents with the same words are found too. Values of more than
    `longest` characters are not indexed. `nested` is the path of the nested objects around it. `problem` says why
    documents are not found exactly; if they are not found at all, `answers` is false.
    """

    name: str
    by_words: bool = False
    longest: int | None = None
    nested: str | None = None
    problem: str | None = None
    answers: bool = True

    def query(self, value: Any) -> dict[str, Any]:
        """Return the query for documents that have the value; it finds all of them and possibly others."""
        if self.longest is not None and isinstance(value, str) and len(value) > self.longest:
            return {"term": {"_ignored": self.name}}  # stored on the document, even if the field is nested
        query: dict[str, Any] = {"term": {self.name: value}}
        if self.by_words:
            query = {"match": {self.name: {"query": value, "operator": "and", "zero_terms_query": "all"}}}
        return query if self.nested is None else {"nested": {"path": self.nested, "query": query}}


def find_field(mapping: Mapping[str, Any], field: str, *, aliased: bool = False) -> SearchedField:
    """Return how an index with this mapping can search a field, given by its full name.

    `aliased` is true if an alias points to this field: Elasticsearch has no alias of an alias.
    """
    node, nested, dynamic = mapping, None, mapping.get("dynamic", True)
    names = field.split(".")
    for at, name in enumerate(names):
        inner = node.get("properties") or node.get("fields") or _NOTHING
        if node.get("type") in _FLATTENED or node.get("enabled") is False or name not in inner:
            return _without(mapping, node, field, dynamic=dynamic)
        node = inner[name]
        dynamic = node.get("dynamic", dynamic)
        if node.get("type") == "nested":
            nested = ".".join(names[: at + 1])
    if node.get("type") == "alias":
        if aliased:
            return SearchedField(field, problem=f"{field} is an alias of an alias", answers=False)
        return find_field(mapping, str(node.get("path")), aliased=True)
    return replace(_judged(field, node), nested=nested)


async def read_fields(engine: SearchEngine, alias: str, field: str) -> Sequence[SearchedField]:
    """Return the distinct ways in which the indices behind an alias can search a field.

    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    with attempting("read the mapping", alias=alias):
        found = await engine.mappings(alias)
    return list(dict.fromkeys(find_field(mapping, field) for mapping in found.values()))


def _without(mapping: Mapping[str, Any], node: Mapping[str, Any], field: str, *, dynamic: Any) -> SearchedField:
    """Return how a field that is not in the mapping can be searched."""
    if field in (mapping.get("runtime") or _NOTHING) or node.get("type") in _FLATTENED:
        return SearchedField(field)
    if str(dynamic).lower() in {"true", "runtime"} and node.get("enabled") is not False:
        return SearchedField(field)  # the first document with this field adds it to the mapping
    return SearchedField(field, problem=f"the index has no field {field}", answers=False)


def _judged(field: str, node: Mapping[str, Any]) -> SearchedField:
    kind = str(node.get("type", "object"))
    if kind in _NOT_SEARCHED or (node.get("index") is False and (kind in _TEXTS or node.get("doc_values") is False)):
        whole = _whole(field, node)
        return whole or SearchedField(field, problem=f"{field} ({kind}) cannot be searched", answers=False)
    if kind in _NUMBERS and (whole := _whole(field, node)) is not None:
        return whole  # a number is rounded, and the keyword below it is not
    if kind not in _TEXTS:
        return SearchedField(field, longest=node.get("ignore_above"))
    whole = _whole(field, node)
    problem = f"{field} is analysed text without a keyword below it: it is searched by words, which may find too many"
    if node.get("search_analyzer", node.get("analyzer")) != node.get("analyzer"):
        problem += " documents, and with another analyzer than it is written with, which may find too few"
    return whole or SearchedField(field, by_words=True, problem=problem)


def _whole(field: str, node: Mapping[str, Any]) -> SearchedField | None:
    """Return the keyword subfield that keeps the longest values."""
    keywords = [
        SearchedField(f"{field}.{name}", longest=each.get("ignore_above"))
        for name, each in (node.get("fields") or _NOTHING).items()
        if each.get("type") == "keyword" and each.get("index") is not False
    ]
    return max(keywords, key=lambda each: float("inf") if each.longest is None else each.longest, default=None)
