"""Indices behind aliases: created if missing, completed with the bookkeeping fields, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, IndexRefusedError
from cdc_daemon.search.engine import SearchEngine, of_index
from cdc_daemon.search.failure import EngineError, Failure, FailureKind, attempting, error_of
from cdc_daemon.search.index_drift import flat_settings
from cdc_daemon.search.index_swap import write_index
from cdc_daemon.search.stored_fields import ONLY_STORED_HINT, only_stored

log = structlog.get_logger(__name__)

_UNITS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Time units of the search engine's settings, in seconds."""

_GC_DELETES = "index.gc_deletes"

_PIPELINES = ("index.default_pipeline", "index.final_pipeline")

DEFAULT_GC_DELETES = 60.0
"""Seconds (`IndexSettings.DEFAULT_GC_DELETES` of Elasticsearch 8.19)."""


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """The declared index of an alias.

    `alias` is the name for writes, `index` the name of the index to create if the alias does not
    exist. `settings` and `mappings` are the search engine's; mappings without `dynamic` are strict.
    `extra_properties` are the daemon's own fields, as a mapping's properties: the missing ones are added
    to an existing index. `former` is the mapping that earlier versions of the daemon generated.
    """

    alias: str
    index: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mappings: Mapping[str, Any] = field(default_factory=dict)
    extra_properties: Mapping[str, Any] = field(default_factory=dict)
    former: Mapping[str, Any] = field(default_factory=dict)

    def whole_mapping(self) -> dict[str, Any]:
        """Return the mapping for the creation of the index."""
        properties = {**(self.mappings.get("properties") or {}), **self.extra_properties}
        return {"dynamic": "strict", **self.mappings, "properties": properties}


@dataclass(frozen=True, slots=True)
class EnsuredIndex:
    """The current index behind an alias.

    `index` is the write index. `created` is true if it was created just now. `added` names the extra
    properties that were added to it: documents already in it lack them. `gc_deletes` is the time in seconds
    for which it remembers deletions.
    """

    index: str
    created: bool
    added: tuple[str, ...]
    gc_deletes: float


@dataclass(frozen=True, slots=True)
class Completion:
    """The index behind an alias, the fields that were added to it, and the fields that it rejects."""

    index: str
    added: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class IndexManager:
    """Creates and completes the indices that receive writes.

    Its methods raise `ElasticsearchUnavailableError` for a transient failure and
    `ElasticsearchRefusedError` for a failure that an operator must fix; both may be retried. `IndexRefusedError`
    means that the declaration must be changed.
    """

    def __init__(self, engine: SearchEngine) -> None:
        self._engine = engine

    async def exists(self, alias: str) -> bool:
        """Return whether the alias leads to an index. Raises as `ensure` does."""
        return await self._find_write_index(alias) is not None

    async def ensure(self, definition: IndexDefinition) -> EnsuredIndex:
        """Ensure that the alias points to an index with the daemon's fields. Concurrent calls are safe."""
        found = await self._find_write_index(definition.alias)
        created = found is None and await self.create(definition, {definition.alias: {"is_write_index": True}})
        index = found or await self._find_write_index(definition.alias)
        if index is None:
            raise ElasticsearchRefusedError(
                f"the index {definition.index!r} exists, but the alias does not lead to it",
                hint="point the alias at the index that is to be written to, or remove that index",
                alias=definition.alias,
            )
        added = () if created else await self._add_properties(index, definition)
        remembered = min(await self.gc_deletes(definition.alias), declared_gc_deletes(definition))
        return EnsuredIndex(index, created, added, remembered)

    async def complete_own(self, definition: IndexDefinition) -> None:
        """Add the daemon's own fields that are missing in the index of an alias. Raises as `ensure` does."""
        index = await self._find_write_index(definition.alias)
        if index is None:
            raise ElasticsearchRefusedError(
                "there is no such alias", hint="create the index and point the alias at it", alias=definition.alias
            )
        await self._add_properties(index, definition)

    async def check_own_fields(self, definition: IndexDefinition) -> None:
        """Check whether the index of an alias can have the daemon's own fields. Raises as `ensure` does."""
        index = await self._find_write_index(definition.alias)
        if index is not None:
            with attempting("read the mapping", index=index):
                properties = of_index(await self._engine.mappings(index), index).get("properties") or {}
            _check_properties(properties, definition)

    async def try_out(self, definition: IndexDefinition) -> None:
        """Check with the search engine whether an index can be created, without creating it.

        Raises as `ensure` does, and `ElasticsearchRefusedError` if the login lacks the privilege for it.
        """
        try:
            await self._engine.try_index(
                definition.index, settings=definition.settings, mappings=definition.whole_mapping()
            )
        except EngineError as error:
            raise _creation_error(error.failure, definition) from None

    async def gc_deletes(self, alias: str) -> float:
        """Return the seconds for which the index behind the alias remembers the versions of deletions."""
        with attempting("read the settings", alias=alias):
            found = await self._engine.settings(alias, [_GC_DELETES], defaults=True)
        values = [each.settings.get(_GC_DELETES) or each.defaults.get(_GC_DELETES) for each in found.values()]
        if not values:
            raise ElasticsearchRefusedError("no index is behind the alias", alias=alias)
        return min(_parse_seconds(value, alias) for value in values)

    async def complete(self, alias: str, properties: Mapping[str, Any], *, add: bool) -> Completion:
        """Add the missing fields to the index of an alias; without `add` only those inside existing objects.

        Existing fields are not changed. An index that is not strict accepts any field, so it is not changed.
        """
        index = await self._find_write_index(alias)
        if index is None:
            raise ElasticsearchRefusedError("there is no such alias", hint="create it", alias=alias)
        with attempting("read the mapping", index=index):
            mapping = of_index(await self._engine.mappings(index), index)
        if str(mapping.get("dynamic", True)).lower() != "strict":
            return Completion(index)
        found = mapping.get("properties") or {}
        missing = missing_properties(properties, found)
        refused = () if add else tuple(name for name in missing if name not in found)
        wanted = {name: declared for name, declared in missing.items() if name not in refused}
        if not wanted:
            return Completion(index, refused=refused)
        try:
            with attempting("add fields to the mapping", index=index):
                await self._engine.put_mapping(index, wanted)
        except ElasticsearchRefusedError as error:
            fields = sorted(wanted)
            log.warning("elasticsearch.fields_refused", index=index, fields=fields, error=str(error), hint=error.hint)
            return Completion(index, refused=tuple(name for name in missing if name not in found))
        return Completion(index, tuple(wanted), refused)

    async def create(self, definition: IndexDefinition, aliases: Mapping[str, Mapping[str, Any]]) -> bool:
        """Create the index with its aliases in one step; return False if another daemon has just created it."""
        try:
            _check_properties(definition.mappings.get("properties") or {}, definition)
        except ElasticsearchRefusedError as error:
            raise IndexRefusedError(error.message, hint=error.hint, **error.where) from None
        try:
            await self._engine.create_index(
                definition.index, settings=definition.settings, mappings=definition.whole_mapping(), aliases=aliases
            )
        except EngineError as error:
            if error.failure.error_type == "resource_already_exists_exception":
                return False
            raise _creation_error(error.failure, definition) from None
        log.info("elasticsearch.index_created", index=definition.index, alias=definition.alias)
        if stored := await only_stored(self._engine, definition.whole_mapping()):
            log.warning(
                "elasticsearch.fields_not_searched", index=definition.index, fields=stored, hint=ONLY_STORED_HINT
            )
        return True

    async def _find_write_index(self, alias: str) -> str | None:
        """Return the write index of the alias, or None if the name is free."""
        with attempting("look up the alias", alias=alias):
            behind = await self._engine.indices_of(alias)
            taken = behind is None and await self._engine.index_exists(alias)
        if taken:
            raise ElasticsearchRefusedError(
                "expected an alias, found an index of that name",
                hint="reindex it under another name, delete it, and give that name to an alias",
                alias=alias,
            )
        return None if behind is None else _choose_write_index(alias, behind)

    async def _add_properties(self, index: str, definition: IndexDefinition) -> tuple[str, ...]:
        with attempting("read the mapping", index=index):
            properties = of_index(await self._engine.mappings(index), index).get("properties") or {}
        _check_properties(properties, definition)
        added = tuple(name for name in definition.extra_properties if name not in properties)
        if added:
            wanted = {name: definition.extra_properties[name] for name in added}
            with attempting("add the daemon's fields to the mapping", index=index):
                await self._engine.put_mapping(index, wanted)
            log.info("elasticsearch.fields_added", index=index, fields=added)
        return added


_NAMES = frozenset({"invalid_alias_name_exception", "invalid_index_name_exception"})

_OF_CLUSTER = frozenset({"validation_exception"})
"""Failures with status 400 that concern the cluster, such as its number of shards."""


def _creation_error(failure: Failure, definition: IndexDefinition) -> CdcError:
    """Return the error of a failed creation: an invalid declaration, or a failure outside of it."""
    of_document = failure.kind is FailureKind.DOCUMENT and failure.error_type not in _OF_CLUSTER
    if of_document or failure.error_type in _NAMES:
        return IndexRefusedError(
            f"The search engine does not take the index as it is declared: {failure.error_type}: {failure.reason}",
            hint="correct the name, settings or mappings of the index in the configuration",
            alias=definition.alias,
            index=definition.index,
        )
    return error_of(failure, "create the index", index=definition.index)


async def has_pipeline(engine: SearchEngine, alias: str) -> bool:
    """Return whether an ingest pipeline changes the documents of an index.

    Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
    """
    with attempting("read the settings", alias=alias):
        found = await engine.settings(alias, _PIPELINES)
    return any(each.settings.get(name, "_none") != "_none" for each in found.values() for name in _PIPELINES)


def declared_gc_deletes(definition: IndexDefinition) -> float:
    """Return the seconds for which an index of this definition remembers deletions."""
    for name, value in flat_settings(definition.settings):
        if name == _GC_DELETES:
            return _parse_seconds(value, definition.alias)
    return DEFAULT_GC_DELETES


def missing_properties(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted properties that a mapping lacks, also inside objects."""
    missing: dict[str, Any] = {}
    for name, declared in wanted.items():
        there = found.get(name)
        if there is None:
            missing[name] = declared
            continue
        inner = declared.get("properties")
        deeper = missing_properties(inner, there.get("properties") or {}) if inner else {}
        if deeper:
            kind = {"type": there["type"]} if "type" in there else {}
            missing[name] = {**kind, "properties": deeper}
    return missing


def _choose_write_index(alias: str, behind: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the write index as the search engine does (`IndexAbstraction.Alias`).

    It is the index flagged as write index, or the only index unless flagged as no write index.
    """
    chosen = write_index(behind)
    if chosen is None:
        raise ElasticsearchRefusedError(
            f"expected an alias with one write index, found none among {sorted(behind)}",
            hint="set is_write_index on one of them",
            alias=alias,
        )
    return chosen


def _check_properties(properties: Mapping[str, Any], definition: IndexDefinition) -> None:
    """Raise an error for a field of ours with another mapping: a search for it would find nothing."""
    for name, wanted in definition.extra_properties.items():
        found = properties.get(name)
        if found is not None and found.get("type") != wanted.get("type"):
            raise ElasticsearchRefusedError(
                f"expected the field {name!r} to be mapped as {wanted.get('type')!r}, found {found.get('type')!r}",
                hint="write to an index of the daemon's own, reindex without that field, or rename a field of "
                "removal_mark",
                alias=definition.alias,
            )


def _parse_seconds(value: Any, alias: str) -> float:
    match = re.fullmatch(r"(-?[0-9]{1,19})(nanos|micros|ms|s|m|h|d)?", str(value))
    if match is None or (match.group(2) is None and match.group(1) not in {"0", "-1"}):
        raise ElasticsearchRefusedError(f"expected index.gc_deletes as a time, found {value!r}", alias=alias)
    return max(int(match.group(1)) * _UNITS[match.group(2) or "s"], 0.0)
