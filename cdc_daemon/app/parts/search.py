"""The part that writes to the search engine, and watches the indices behind the aliases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

from cdc_daemon.app.part import Context, Part, run_together
from cdc_daemon.app.parts.index_preparation import SHORTEST_BODY_AGE, Preparation
from cdc_daemon.app.parts.tables import TablesPart
from cdc_daemon.app.startup import connect_elasticsearch, find_engine
from cdc_daemon.config import ElasticsearchSettings, Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.bulk import BulkWriter
from cdc_daemon.search.bulk_limits import BulkLimits
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engine_watch import watch_engine
from cdc_daemon.search.metrics import AliasMetrics, BulkMetrics, EngineMetrics
from cdc_daemon.search.swap_steps import SwapSteps
from cdc_daemon.search.swap_watch import LOOK_INTERVAL, SwapWatch
from cdc_daemon.search.swap_writer import SwapWriter
from cdc_daemon.sources.late_requests.recorder import SuspectRecorder, Times
from cdc_daemon.sources.requests.errors import InvalidIdError
from cdc_daemon.sources.requests.ids import IdParser
from cdc_daemon.sources.unlogged_removals.sweep import DocumentedRows, KeyOfId, MappedAlias
from cdc_daemon.store import Store


class SearchPart(Part):
    """The indices behind the aliases, and the writer of bulk requests.

    `swap_watch` watches the indices of each alias and `swap_steps` swaps them. `troubled` are the aliases that accept
    no writes. `preparation` prepares the indices. `suspects` records the documents that a bulk request without an
    answer may still write. `rows` reads which rows the documents in the indices show. `clock` issues all versions of
    documents.
    """

    name = "indices"

    def __init__(
        self,
        context: Context,
        tables: TablesPart,
        engine: SearchEngine,
        preparation: Preparation,
        suspects: SuspectRecorder,
        *,
        clock: HybridClock,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.suspects = suspects
        self.preparation = preparation
        self.rows = _index_rows(tables.settings, tables.mappings, engine, clock)
        limits = _bulk_limits(tables.settings, preparation.remembered)
        self.swap_watch = SwapWatch(engine, [alias for several in tables.aliases.values() for alias in several])
        self.swap_steps = SwapSteps(engine, self.swap_watch)
        live = BulkWriter(
            engine, limits=limits, observer=BulkMetrics(context.metrics), prepare=preparation.again, versions=clock
        )
        preparation.on_shorter = lambda seconds: live.limit_body_age(_body_age(seconds))
        self.writer = SwapWriter(
            live,
            lambda: BulkWriter(engine, limits=limits, versions=clock),
            self.swap_watch,
            stop_writes=self.swap_steps.stop_writes,
            mark_behind=self.swap_steps.mark_behind,
        )
        for alias, error in preparation.unready.items():
            self.writer.hold(alias, error)
        self.troubled = Troubled(self.writer, tables.aliases)
        self._metrics = context.metrics
        self._aliases = AliasMetrics(context.metrics, self.swap_watch.last)
        self._engine_metrics = EngineMetrics(context.metrics)

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context, tables: TablesPart) -> AsyncIterator[Self]:
        """Prepare the indices, waiting for the search engine, and write to them during a block.

        Raises `ConfigError` for an engine that is not supported, `IndexRefusedError` for an index that cannot be
        created as declared, and `StoreError`.
        """
        settings = tables.settings
        async with AsyncExitStack() as stack:
            engine = connect_elasticsearch(settings.elasticsearch)
            stack.push_async_callback(engine.close)
            await find_engine(engine, settings.elasticsearch, report_wait=context.report_wait)
            preparation = Preparation(engine, settings.mappings, tables.mappings, copies=context.store.first_copies)
            await preparation.at_start(report_wait=context.report_wait)
            recorder = _recording(context.store, settings.elasticsearch, preparation.remembered)
            clock = await _make_clock(context.store, settings.elasticsearch)
            part = cls(context, tables, engine, preparation, await stack.enter_async_context(recorder), clock=clock)
            stack.push_async_callback(part.writer.close)
            yield part

    async def run(self) -> None:
        """Watch the indices behind the aliases, and which engine answers."""
        await run_together(
            aliases=self.swap_watch.run,
            missing=self._notice_missing,
            engine=partial(watch_engine, self.engine),
        )

    async def _notice_missing(self) -> None:
        """Probe each alias that leads to no index, even if nothing is written to it."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            for alias, indices in self.swap_watch.last.items():
                if indices.live is None and self.writer.trouble(alias) is None:
                    self.writer.doubt(alias)

    def status(self) -> Mapping[str, Any]:
        """Return which search engine answers, whether it accepts writes, and the indices of each alias."""
        troubles = self.writer.troubles()
        product = self.engine.product
        return {
            "elasticsearch": {
                "available": self.writer.available,
                "failure": None if self.writer.failure is None else self.writer.failure.error_type,
                "engine": None if product is None else product.name,
                "version": None if product is None else product.version or None,
            },
            "indices": [
                {**indices.plain(), "trouble": None if (trouble := troubles.get(alias)) is None else trouble.plain()}
                for alias, indices in self.swap_watch.last.items()
            ],
        }

    def measure(self) -> None:
        """Update the gauges of the engine, and of the availability of the engine and of each alias."""
        self._engine_metrics.show(self.engine.product)
        self._metrics.elasticsearch_available.set(self.writer.available)
        troubles = self.writer.troubles()
        self._aliases.show({alias: trouble.failure.label for alias, trouble in troubles.items()})


def _bulk_limits(settings: Settings, remembered: float) -> BulkLimits:
    return BulkLimits(
        documents=settings.elasticsearch.bulk_documents,
        size=settings.elasticsearch.bulk_bytes,
        connections=settings.elasticsearch.connections,
        request_timeout=settings.elasticsearch.request_timeout,
        max_body_age=_body_age(remembered),
        allowed_clock_difference=settings.elasticsearch.allowed_clock_difference,
    )


def _body_age(remembered: float) -> float:
    """Return the maximum seconds that a body may wait if deletions are remembered for `remembered` seconds."""
    return max(remembered / 2, SHORTEST_BODY_AGE)


async def _make_clock(store: Store, settings: ElasticsearchSettings) -> HybridClock:
    """Return the clock of all versions, which continues above those of earlier processes. Raises `StoreError`."""
    bound, untrusted = await asyncio.to_thread(store.clock)
    return HybridClock(
        start=bound,
        reserve=store.raise_clock_bound,
        untrusted=untrusted,
        allowed=int(settings.allowed_clock_difference * 1e6),
    )


@asynccontextmanager
async def _recording(
    store: Store, settings: ElasticsearchSettings, remembered: float
) -> AsyncIterator[SuspectRecorder]:
    """Record suspects during a block; send requests only inside it. Raises `StoreError`.

    `remembered` (seconds) is the shortest time for which any index remembers deletions.
    """
    times = Times.of(remembered=remembered, limit=settings.late_request_limit)
    bound = await asyncio.to_thread(store.clock_bound)
    recorder = await asyncio.to_thread(SuspectRecorder, store.suspects, times, bound=bound)
    try:
        yield recorder
    finally:
        await asyncio.to_thread(recorder.close)


def _index_rows(
    settings: Settings,
    mappings: Mapping[TableName, Iterable[DocumentMapping]],
    engine: SearchEngine,
    clock: HybridClock,
) -> DocumentedRows:
    """Return a reader of the rows that each table's documents show."""
    return DocumentedRows(
        engine,
        {
            table: [MappedAlias(mapping.alias, _key_of_id(settings, mapping)) for mapping in several]
            for table, several in mappings.items()
        },
        trusts=clock.trusts,
    )


def _key_of_id(settings: Settings, mapping: DocumentMapping) -> KeyOfId:
    identifiers = IdParser(settings.mappings[mapping.name], mapping.table)

    def key_of(identity: str) -> Key | None:
        try:
            key = identifiers.parse_one(identity).key
        except InvalidIdError:
            return None
        return None if key.clustering is None else key

    return key_of
