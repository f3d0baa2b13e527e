"""Fields that an engine has no type for: they are stored in the documents and not searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import attempting

ONLY_STORED_HINT = (
    "this release of the search engine has no type for them: maps can be searched from Elasticsearch 7.11 and "
    "OpenSearch 2.7 on, vectors from Elasticsearch 8.0 on"
)


async def only_stored(engine: SearchEngine, mapping: Mapping[str, Any]) -> list[str]:
    """Return the fields of a mapping that the engine stores and does not search, though the mapping wants it.

    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    with attempting("read which types of fields the engine has"):
        return sorted(_stored("", mapping, await engine.fit_mapping(mapping)))


def _stored(place: str, declared: Mapping[str, Any], fitted: Mapping[str, Any]) -> Iterator[str]:
    for inner in ("properties", "fields"):
        for name, wanted in (declared.get(inner) or {}).items():
            made = (fitted.get(inner) or {}).get(name)
            if not isinstance(wanted, Mapping) or not isinstance(made, Mapping):
                continue
            if made.get("enabled") is False and wanted.get("enabled") is not False:
                yield f"{place}{name}"
            else:
                yield from _stored(f"{place}{name}.", wanted, made)
