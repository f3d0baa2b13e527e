"""Prepares the indices that documents are written to: at the start, and again after an index has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from cdc_daemon.app.startup import ReportWait, ignore_wait, persist
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, IndexRefusedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.index_drift import describe_drift, drift_hint, find_drift
from cdc_daemon.search.indices import EnsuredIndex, IndexDefinition, IndexManager, declared_gc_deletes
from cdc_daemon.search.missing import MissingIndices
from cdc_daemon.search.removal_marks import check_marking
from cdc_daemon.search.searched_field import read_fields
from cdc_daemon.sources.dependents.finders import log_field_problems
from cdc_daemon.store.first_copies import FirstCopies, FirstCopy

log = structlog.get_logger(__name__)

SHORTEST_BODY_AGE = 1.0
"""Seconds that a body may always wait: otherwise nothing could be written with `index.gc_deletes` at zero."""


def index_definition(declared: MappingSettings, mapping: DocumentMapping) -> IndexDefinition:
    """Return the index definition of a mapping."""
    return IndexDefinition(
        alias=declared.alias,
        index=declared.index,
        settings=declared.settings or {},
        mappings=mapping.index_mapping() if declared.mappings is None else declared.mappings,
        extra_properties=mapping.bookkeeping,
        former=mapping.former_index_mapping() if declared.mappings is None else {},
    )


@dataclass(frozen=True, slots=True)
class _Prepared:
    mapping: DocumentMapping
    declared: MappingSettings
    definition: IndexDefinition


class Preparation:
    """Creates missing indices, aliases and bookkeeping fields, and completes generated mappings.

    An index that an operator must fix delays no other: after the start `unready` has the errors by alias.
    `remembered` is the shortest time in seconds for which any index remembers deletions. `on_shorter` is called if an
    index that was not ready at the start remembers them for less. `copies` records the first copy of each index that
    is created here.
    """

    def __init__(
        self,
        engine: SearchEngine,
        settings: Mapping[str, MappingSettings],
        mappings: Mapping[TableName, Sequence[DocumentMapping]],
        *,
        copies: FirstCopies | None = None,
    ) -> None:
        self.unready: dict[str, CdcError] = {}
        self.on_shorter: Callable[[float], None] = lambda _seconds: None
        self._engine = engine
        self._manager = IndexManager(engine)
        self._copies = copies
        self._remembered: list[float] = []
        self._missing = MissingIndices()
        self._settings = settings
        self._prepared: dict[str, _Prepared] = {}
        for several in mappings.values():
            self.follow(several)

    def follow(self, mappings: Iterable[DocumentMapping]) -> None:
        """Use these mappings from now on: an index that is created again has the columns that were added meanwhile."""
        for mapping in mappings:
            declared = self._settings[mapping.name]
            self._prepared[mapping.alias] = _Prepared(mapping, declared, index_definition(declared, mapping))

    @property
    def remembered(self) -> float:
        """Seconds for which every index remembers deletions, as far as known."""
        return max(min(self._remembered, default=0.0), 2 * SHORTEST_BODY_AGE)

    async def at_start(self, *, report_wait: ReportWait = ignore_wait) -> None:
        """Prepare every index, waiting until Elasticsearch is up and at least one index is ready.

        Raises `IndexRefusedError` for an index that cannot be created as declared.
        """

        async def attempt() -> None:
            refusals: dict[str, ElasticsearchRefusedError] = {}
            self._remembered = []
            for alias in self._prepared:
                try:
                    await self._make_ready(alias)
                except ElasticsearchRefusedError as error:
                    refusals[alias] = error
                    self._remembered.append(declared_gc_deletes(self._prepared[alias].definition))
            if refusals and len(refusals) == len(self._prepared):
                raise next(iter(refusals.values()))
            self.unready = {**refusals}

        await persist("elasticsearch", attempt, report_wait=report_wait)
        for alias, error in self.unready.items():
            log.warning("startup.index_not_ready", alias=alias, error=error.message, hint=error.hint)

    async def again(self, alias: str) -> None:
        """Prepare an index again that could not be written to. A deleted one is created again if it is to be rebuilt.

        Does nothing for an alias that no mapping names. Raises `CdcError`.
        """
        if alias not in self._prepared:
            return
        if alias in self.unready:
            await self._make_ready(alias)
            del self.unready[alias]
            self.on_shorter(self.remembered)
            return
        if self._prepared[alias].declared.on_index_missing == "rebuild":
            if not await self._manager.exists(alias):
                await self._rebuild(alias)
                return
            self._missing.found(alias)
        await self._manager.complete_own(self._prepared[alias].definition)
        await self._complete_generated(alias)

    async def _make_ready(self, alias: str) -> None:
        prepared = self._prepared[alias]
        declared = prepared.declared
        try:
            ensured = await self._ensure(prepared)
        except IndexRefusedError as error:
            files = {"mappings_file": declared.mappings_file, "settings_file": declared.settings_file}
            raise IndexRefusedError(
                error.message, hint=error.hint, mapping=prepared.mapping.name, **error.where, **files
            ) from None
        if prepared.mapping.mark is not None:
            await check_marking(self._engine, alias)
        self._remembered.append(ensured.gc_deletes)
        for field in sorted(declared.dependents_fields):
            log_field_problems(alias, await read_fields(self._engine, alias, field))
        if not ensured.created:
            await self._complete_generated(alias)
            await self._log_drift(prepared.definition, ensured.index)

    async def _ensure(self, prepared: _Prepared) -> EnsuredIndex:
        """Ensure the index. Its first copy is recorded durably before it is created, so that no crash loses it."""
        copies, name = self._copies, prepared.mapping.name
        if copies is None or await self._manager.exists(prepared.mapping.alias):
            return await self._manager.ensure(prepared.definition)
        recorded = copies.all.get(name)
        if prepared.declared.snapshot == "initial" or (recorded is not None and recorded.state == "waiting"):
            await asyncio.to_thread(copies.put, name, FirstCopy("waiting"))
        else:
            await asyncio.to_thread(copies.forget, name)
        ensured = await self._manager.ensure(prepared.definition)
        if not ensured.created:  # by another daemon, which copies the table
            await asyncio.to_thread(copies.forget, name)
        return ensured

    async def _rebuild(self, alias: str) -> None:
        """Create a deleted index again, and have its rows backfilled by the daemon that created it.

        The new index does not know the deletions that the old one remembered. So it is created only when no body from
        before the deletion can still be on its way, from any daemon. Raises `ElasticsearchRefusedError` until then.
        """
        self._missing.check(alias, pause=self.remembered / 2)
        prepared, copies = self._prepared[alias], self._copies
        name = prepared.mapping.name
        previous = None if copies is None else copies.all.get(name)
        if copies is not None:
            # With the job of an earlier copy, which is not to be taken for that of this one.
            await asyncio.to_thread(copies.put, name, FirstCopy("waiting", None if previous is None else previous.job))
        try:
            ensured = await self._manager.ensure(prepared.definition)
        except CdcError:
            # The index may exist all the same: an answer was lost, or a request after the creation failed.
            if copies is not None and not await self._manager.exists(alias):
                await asyncio.to_thread(copies.restore, name, previous)
            raise
        if copies is not None and not ensured.created:  # by another daemon, which copies the table
            await asyncio.to_thread(copies.restore, name, previous)
        self._missing.found(alias)
        self._remembered.append(ensured.gc_deletes)
        self.on_shorter(self.remembered)
        log.warning("elasticsearch.index_rebuilt", alias=alias, index=ensured.index, created=ensured.created, type=name)

    async def _complete_generated(self, alias: str) -> None:
        """Add missing fields to an index with a mapping generated by the daemon."""
        prepared = self._prepared[alias]
        if prepared.declared.mappings is not None:
            return
        properties = prepared.definition.mappings.get("properties") or {}
        completed = await self._manager.complete(alias, properties, add=True)
        if completed.added:
            log.info("elasticsearch.fields_added", index=completed.index, fields=list(completed.added))

    async def _log_drift(self, definition: IndexDefinition, index: str) -> None:
        drift = await find_drift(
            self._engine,
            index,
            settings=definition.settings,
            mappings=definition.mappings,
            former=definition.former,
        )
        if drift:
            log.warning(
                "elasticsearch.index_drift",
                index=index,
                alias=definition.alias,
                found=describe_drift(index, drift),
                hint=drift_hint(index, self._prepared[definition.alias].mapping.name),
            )
