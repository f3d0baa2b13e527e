"""Reconcile: compares the rows of ranges with their documents, then the documents with their rows."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple
from weakref import WeakKeyDictionary

from cassandra.metadata import Murmur3Token

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.ports import DocumentBuilder, ExtendingReader, MappingUpdater
from cdc_daemon.search.documents import DocumentWalk, fetch_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.indices import has_pipeline
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.tablejobs.backfill import ScanFactory
from cdc_daemon.tablejobs.comparison import Comparison
from cdc_daemon.tablejobs.confirmation import AT_ONCE, DirectWriter, MismatchConfirmation, WriteBarrier
from cdc_daemon.tablejobs.document_ids import DocumentKeys, IdSums
from cdc_daemon.tablejobs.findings import Mismatch, MismatchCounts, MismatchKind
from cdc_daemon.tablejobs.range_job import JobRun

SUSPECTS = 2000
"""Mismatches collected before they are checked again: more would use more memory, fewer would wait more often."""

IDS = 5000
"""Document ids in a page that contains only ids."""

MOST_PARTS = 1000
"""Maximum parts into which a walk is split for a sample (`index.max_slices_per_pit` is 1024)."""

OF_ROWS = frozenset((MismatchKind.MISSING, MismatchKind.DIFFERENT))
"""Mismatches found by reading the rows."""

OF_DOCUMENTS = frozenset((MismatchKind.SURPLUS,))
"""Mismatches found by reading the documents."""


class ComparedMapping(NamedTuple):
    """One mapping, with its settings."""

    mapping: DocumentMapping
    settings: MappingSettings


class Reconcile:
    """Compares page by page, so that memory stays flat at any size.

    A mismatch counts only when it is confirmed after the tail has passed it, because an in-flight change is not drift.
    Raises what reading rows, fetching documents and recording progress raise.
    """

    def __init__(
        self,
        *,
        engine: SearchEngine,
        reader: ExtendingReader,
        updater: MappingUpdater,
        builder: DocumentBuilder,
        scan: ScanFactory,
        barrier: WriteBarrier,
        sink: BackgroundSink,
        writer: DirectWriter,
        compared: Mapping[str, ComparedMapping],
        on_compared: Callable[[str, Mapping[str, int]], None],
        on_done: Callable[[JobRun], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._updater = updater
        self._builder = builder
        self._scan = scan
        self._barrier = barrier
        self._sink = sink
        self._writer = writer
        self._compared = compared
        self._on_compared = on_compared
        self._on_done = on_done
        self._id_sums: WeakKeyDictionary[JobRun, dict[str, IdSums]] = WeakKeyDictionary()

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Compare the rest of a range, or walk the documents of a type."""
        await self.compare(run, part, repair=run.request.repair)

    async def compare(
        self,
        run: JobRun,
        part: JobRange,
        *,
        repair: bool,
        index: str | None = None,
        is_dead_letter: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        """Compare a range with `index`, by default the alias's. Dead letters do not count as mismatches."""
        compared = self._compared[part.object_type]
        mapping = compared.mapping
        place = index or mapping.alias
        comparison = Comparison(
            self._engine,
            self._reader,
            self._updater,
            self._builder,
            table=_table(mapping),
            alias=mapping.alias,
            changed=mapping.pipeline is not None or await has_pipeline(self._engine, place),
            index=place,
        )
        counts = MismatchCounts(part.object_type)
        confirmation = MismatchConfirmation(
            comparison,
            self._barrier,
            counts,
            sink=self._sink,
            writer=self._writer,
            alias=mapping.alias,
            repair=repair,
            index=place,
            is_dead_letter=is_dead_letter,
        )
        target = _Target(comparison, counts, confirmation, place)
        if part.side != DOCUMENTS:
            await self._rows(run, part, target, _table(mapping))
        elif run.request.kind != "reconcile" or run.resumed or run.request.ranges or run.request.sample < 1:
            await self._walk(run, part, target, compared)
        else:
            await run.wait_rows(part.object_type)
            await self._recount(run, part, target, compared)

    async def finish(self, run: JobRun) -> None:
        """Report the remaining mismatches, and that the job is done."""
        for object_type in run.request.types:
            counts = run.found.get("types", {}).get(object_type, {})
            self._on_compared(object_type, counts.get("left", {kind.value: 0 for kind in MismatchKind}))
        await self._on_done(run)

    async def _rows(self, run: JobRun, part: JobRange, target: _Target, table: TableName) -> None:
        suspects: dict[Key, Mismatch] = {}
        counted = compared = part.rows
        sums = self._sums_of(run, part.object_type)
        async for page in self._scan(run).rows(table, TokenRange(part.cursor, part.last)):
            await run.pace.take(len(page.keys))
            for keys, reading in _portions(page.keys, page.reading):
                result = await target.comparison.compare(keys, reading)
                suspects.update({key: each for key, each in result.mismatches.items() if each.kind in OF_ROWS})
                sums.add(result.existing)
                target.counts.add(unreadable=len(result.unreadable))
            compared = part.rows + page.covered_rows
            if confirmed := len(suspects) >= SUSPECTS:
                await target.confirmation.confirm(suspects, OF_ROWS)
                suspects = {}
            if not suspects:
                target.counts.add(rows=compared - counted)
                counted = compared
                await run.move(part, page.covered, compared, found=target.counts, now=confirmed)
        await target.confirmation.confirm(suspects, OF_ROWS)
        target.counts.add(rows=compared - counted)
        await run.move(part, part.last, compared, done=True, found=target.counts)

    def _sums_of(self, run: JobRun, object_type: str) -> IdSums:
        return self._id_sums.setdefault(run, {}).setdefault(object_type, IdSums())

    async def _recount(self, run: JobRun, part: JobRange, target: _Target, compared: ComparedMapping) -> None:
        """Check the documents that the comparison of the rows did not find.

        The ids found from the rows and the ids in the index are summed by bucket. Only documents in buckets with
        different sums are compared with their rows. The sums are lost in a crash; then each document is checked.
        """
        mapping = compared.mapping
        keys_of = DocumentKeys(mapping, compared.settings)
        walk = DocumentWalk(self._engine, target.place, page=IDS)
        seen, walked = self._sums_of(run, part.object_type), IdSums()
        async for page in self._pages(run, part, walk):
            walked.add(each.id for each in page)
            target.counts.add(documents=len(page))
        differing = seen.differing(walked)
        if differing:
            names: list[DocumentName] = []
            async with aclosing(walk.pages()) as pages:
                async for page in pages:
                    names += [
                        DocumentName(target.place, each.id, each.routing)
                        for each in page
                        if IdSums.bucket(each.id) in differing
                    ]
                    if len(names) >= AT_ONCE:
                        await self._check_named(run, target, mapping, keys_of, names)
                        names = []
            await self._check_named(run, target, mapping, keys_of, names)
        await run.move(part, part.last, part.rows, done=True, found=target.counts)

    async def _check_named(
        self,
        run: JobRun,
        target: _Target,
        mapping: DocumentMapping,
        keys_of: DocumentKeys,
        names: Sequence[DocumentName],
    ) -> None:
        for start in range(0, len(names), AT_ONCE):
            found = await fetch_documents(self._engine, names[start : start + AT_ONCE], source=DocumentKeys.FIELDS)
            await run.pace.take(len(found))
            await self._check(run, target, mapping, [(each, keys_of.of(each)) for each in found if each is not None])

    async def _walk(self, run: JobRun, part: JobRange, target: _Target, compared: ComparedMapping) -> None:
        """Check that each document's row exists.

        A walk cannot be resumed: it restarts after a crash. So its findings are recorded only when it is complete.
        """
        mapping = compared.mapping
        keys_of = DocumentKeys(mapping, compared.settings)
        parts = round(min(MOST_PARTS, 1 / run.request.sample))
        walk = DocumentWalk(
            self._engine,
            target.place,
            source=DocumentKeys.FIELDS,
            part=(random.randrange(parts), parts) if parts > 1 else None,  # noqa: S311 -- not a secret
        )
        async for page in self._pages(run, part, walk):
            await run.pace.take(len(page))
            await self._check(run, target, mapping, [(document, keys_of.of(document)) for document in page])
            target.counts.add(documents=len(page))
        await run.move(part, part.last, part.rows, done=True, found=target.counts)

    async def _pages(self, run: JobRun, part: JobRange, walk: DocumentWalk) -> AsyncIterator[Sequence[StoredDocument]]:
        """Yield the pages of a walk, and record its progress."""
        total = max(1, await walk.count())
        walked = 0
        async with aclosing(walk.pages()) as pages:
            async for page in pages:
                yield page
                walked += len(page)
                done = (part.last - part.first) * min(walked, total) // total
                await run.move(part, part.first + done, part.rows)

    async def _check(
        self, run: JobRun, target: _Target, mapping: DocumentMapping, page: Sequence[tuple[StoredDocument, Key | None]]
    ) -> None:
        wanted = run.request.ranges
        orphans: list[Mismatch] = []
        suspects: set[Key] = set()
        documents: dict[Key, StoredDocument] = {}
        for document, key in page:
            if key is not None and (not wanted or _is_in(key, wanted)):
                documents[key] = document
            elif key is None and not wanted and mapping.identity.names_whole_key:
                orphans.append(_orphan(document))
        for keys, _ in _portions(list(documents)):
            expected, _ = await target.comparison.expected_documents(keys)
            for each in expected:
                document = documents[each.key]
                if each.operation.id != document.id or (each.operation.routing or None) != document.routing:
                    orphans.append(_orphan(document))
                elif each.operation.body is None:
                    suspects.add(each.key)
        if suspects:
            # The walk returns documents as they were when it began, so they are checked again.
            result = await target.comparison.compare(list(suspects))
            target.counts.add(unreadable=len(result.unreadable))
            await target.confirmation.confirm(result.mismatches, OF_DOCUMENTS)
        if orphans and mapping.identity.names_whole_key:
            await target.confirmation.confirm_orphans(orphans)


class _Target(NamedTuple):
    comparison: Comparison
    counts: MismatchCounts
    confirmation: MismatchConfirmation
    place: str


def _table(mapping: DocumentMapping) -> TableName:
    return TableName(mapping.table.keyspace, mapping.table.name)


def _portions(keys: Sequence[Key], reading: Reading | None = None) -> Iterator[tuple[Sequence[Key], Reading | None]]:
    for start in range(0, len(keys), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        yield keys[part], None if reading is None else reading._replace(states=reading.states[part])


def _is_in(key: Key, ranges: Sequence[TokenRange]) -> bool:
    token = Murmur3Token.hash_fn(key.partition_key)
    return any(token in each for each in ranges)


def _orphan(document: StoredDocument) -> Mismatch:
    return Mismatch(MismatchKind.SURPLUS, document.id, None, version=document.version, routing=document.routing)
