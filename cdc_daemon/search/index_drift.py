"""Differences between an index and its declaration: settings and fields that were changed or never matched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cdc_daemon.search.engine import SearchEngine, of_index
from cdc_daemon.search.failure import attempting

_COMPARED = (
    *("type", "analyzer", "search_analyzer", "normalizer", "format", "dims", "enabled", "dynamic", "copy_to"),
    *("ignore_above", "scaling_factor", "similarity"),
)
"""Attributes of a field that change what is stored or found. Elasticsearch omits others with default values."""

_INNER = ("properties", "fields")
"""The members of a field that hold its subfields."""


class IndexDifference(NamedTuple):
    """One setting or field of an index that differs from the declaration."""

    place: str
    declared: Any
    found: Any

    @property
    def is_new_field(self) -> bool:
        """Whether the field is missing in the index."""
        return self.found is None and self.place.startswith("mappings.") and self.place.count(".") == 1

    def __str__(self) -> str:
        return f"{self.place}: declared {self.declared}, found {'nothing' if self.found is None else self.found}"


_NAMED = 5
"""The number of differences named in one sentence; the others are counted."""


def describe_drift(index: str, differences: Sequence[IndexDifference]) -> str:
    """Return a sentence that lists the differences of an index from its declaration."""
    more = f"; and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
    return f"{index} is not as declared: {'; '.join(map(str, differences[:_NAMED]))}{more}"


def drift_hint(index: str, mapping: str) -> str:
    """Return how to make an index match its declaration; `mapping` is the mapping's name."""
    return (
        f"documents are written all the same; PUT /{index}/_settings or /_mapping changes what can be changed; "
        f"`cdc-daemon backfill {mapping} --new-index` builds one as declared while the daemon runs"
    )


async def find_drift(
    engine: SearchEngine,
    index: str,
    *,
    settings: Mapping[str, Any],
    mappings: Mapping[str, Any],
    former: Mapping[str, Any] = MappingProxyType({}),
) -> list[IndexDifference]:
    """Compare an index with its declaration; only declared settings and fields count.

    `former` is the mapping that earlier versions of the daemon generated. A field as it was then is no difference.
    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    found: list[IndexDifference] = []
    if settings:
        with attempting("read the settings", index=index):
            there = of_index(await engine.settings(index), index).settings
        found += settings_differences(settings, there)
    if mappings:
        with attempting("read the mapping", index=index):
            mapping = of_index(await engine.mappings(index), index)
            declared = await engine.fit_mapping(mappings)
            accepted = await engine.fit_mapping(former) if former else former
        found += mapping_differences(declared, mapping, former=accepted)
    return found


def settings_differences(declared: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[IndexDifference]:
    """Compare declared settings, nested or flat, with an index's flat ones."""
    for place, value in flat_settings(declared):
        there = found.get(place)
        if _plain(value) != _plain(there):
            yield IndexDifference(f"settings.{place}", value, there)


def mapping_differences(
    declared: Mapping[str, Any], found: Mapping[str, Any], *, former: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[IndexDifference]:
    """Compare a declared mapping with an index's; return the fields that are missing or differ, also from `former`."""
    if "dynamic" in declared and _plain(declared["dynamic"]) != _plain(found.get("dynamic", True)):
        yield IndexDifference("mappings.dynamic", declared["dynamic"], found.get("dynamic", True))
    yield from _fields("mappings", declared, found, former)


def flat_settings(declared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return declared settings, nested or flat, by their full names."""
    for name, value in _flat(declared):
        yield name if name.startswith("index.") else f"index.{name}", value


def _fields(
    place: str, declared: Mapping[str, Any], found: Mapping[str, Any], former: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[IndexDifference]:
    for inner in _INNER:
        there, earlier = found.get(inner) or {}, former.get(inner) or {}
        for name, field in (declared.get(inner) or {}).items():
            at = f"{place}.{name}"
            if name not in there:
                yield IndexDifference(at, _type_of(field), None)
                continue
            before = earlier.get(name) or {}
            if before and before != field and not any(_field(at, before, there[name])):
                continue
            yield from _field(at, field, there[name], before)


def _field(
    place: str, declared: Mapping[str, Any], found: Mapping[str, Any], former: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[IndexDifference]:
    yield from _attributes(place, declared, found)
    yield from _fields(place, declared, found, former)


def _attributes(place: str, declared: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[IndexDifference]:
    if _type_of(declared) != _type_of(found):
        yield IndexDifference(f"{place}.type", _type_of(declared), _type_of(found))
        return
    for attribute in _COMPARED[1:]:
        if attribute in declared and _plain(declared[attribute]) != _plain(found.get(attribute, declared[attribute])):
            yield IndexDifference(f"{place}.{attribute}", declared[attribute], found[attribute])
    for attribute in ("analyzer", "search_analyzer", "normalizer"):
        if attribute in declared and attribute not in found and declared[attribute] not in ("default", "standard"):
            if attribute == "search_analyzer" and declared[attribute] == declared.get("analyzer"):
                continue
            yield IndexDifference(f"{place}.{attribute}", declared[attribute], None)


def _type_of(field: Mapping[str, Any]) -> str:
    return str(field.get("type", "object"))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """Return a value in Elasticsearch's form: strings and lists of strings."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
