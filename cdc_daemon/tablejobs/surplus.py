"""The search for documents without a row: all documents of a type are walked, and the doubtful ones compared."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from cassandra.metadata import Murmur3Token

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.ports import DocumentBuilder, ExtendingReader, MappingUpdater
from cdc_daemon.search.documents import DocumentWalk, fetch_documents
from cdc_daemon.search.engine import DocumentName, SearchEngine, StoredDocument
from cdc_daemon.search.indices import has_pipeline
from cdc_daemon.search.removal_marks import unmarked_query
from cdc_daemon.store.range_jobs import JobRange
from cdc_daemon.tablejobs.comparison import Comparison, NoteExpiries, ignore_expiries
from cdc_daemon.tablejobs.confirmation import AT_ONCE, DirectWriter, MismatchConfirmation, WriteBarrier
from cdc_daemon.tablejobs.document_ids import Digest, DocumentKeys, IdSums
from cdc_daemon.tablejobs.findings import Mismatch, MismatchCounts, MismatchKind
from cdc_daemon.tablejobs.range_job import JobRun

IDS = 5000
"""Document ids in a page that contains only ids."""

MOST_PARTS = 1000
"""Maximum parts into which a walk is split for a sample (`index.max_slices_per_pit` is 1024)."""

OF_DOCUMENTS = frozenset((MismatchKind.SURPLUS,))
"""Mismatches found by reading the documents."""


class ComparedMapping(NamedTuple):
    """One mapping, with its settings."""

    mapping: DocumentMapping
    settings: MappingSettings

    @property
    def table(self) -> TableName:
        """The table whose rows the documents show."""
        return TableName(self.mapping.table.keyspace, self.mapping.table.name)


class ComparisonTarget(NamedTuple):
    """What one object type is compared with: the index `place`; and where the findings go."""

    comparison: Comparison
    counts: MismatchCounts
    confirmation: MismatchConfirmation
    place: str


class ComparisonTargets:
    """Builds the targets of comparisons from what they share."""

    def __init__(
        self,
        *,
        engine: SearchEngine,
        reader: ExtendingReader,
        updater: MappingUpdater,
        builder: DocumentBuilder,
        barrier: WriteBarrier,
        sink: BackgroundSink,
        writer: DirectWriter,
        clock: HybridClock | None = None,
        note_expiries: NoteExpiries = ignore_expiries,
    ) -> None:
        self._clock = clock
        self._note_expiries = note_expiries
        self._engine = engine
        self._reader = reader
        self._updater = updater
        self._builder = builder
        self._barrier = barrier
        self._sink = sink
        self._writer = writer

    async def of(
        self,
        object_type: str,
        compared: ComparedMapping,
        *,
        repair: bool,
        index: str | None = None,
        is_dead_letter: Callable[[Key], bool] = lambda _key: False,
    ) -> ComparisonTarget:
        """Return the target for `index`, by default the alias's. Dead letters do not count as mismatches."""
        mapping = compared.mapping
        place = index or mapping.alias
        comparison = Comparison(
            self._engine,
            self._reader,
            self._updater,
            self._builder,
            table=compared.table,
            alias=mapping.alias,
            changed=mapping.pipeline is not None or await has_pipeline(self._engine, place),
            index=place,
            clock=self._clock,
            note_expiries=self._note_expiries,
        )
        counts = MismatchCounts(object_type)
        confirmation = MismatchConfirmation(
            comparison,
            self._barrier,
            counts,
            sink=self._sink,
            writer=self._writer,
            alias=mapping.alias,
            repair=repair,
            index=place,
            mark=mapping.mark,
            is_dead_letter=is_dead_letter,
        )
        return ComparisonTarget(comparison, counts, confirmation, place)


class SurplusSearch:
    """Finds the documents of one object type without a row; the target's confirmation counts and repairs them.

    Where the job has token ranges, only documents with keys in these ranges count. With `orphans`, documents that
    cannot belong to any row count as well. Documents that are marked as removed are left out: they need no row. Raises
    what reading rows, fetching documents and recording progress raise.
    """

    def __init__(
        self,
        run: JobRun,
        part: JobRange,
        target: ComparisonTarget,
        compared: ComparedMapping,
        *,
        orphans: bool = True,
    ) -> None:
        self._run = run
        self._part = part
        self._target = target
        self._engine = target.comparison.engine
        self._mapping = compared.mapping
        self._keys = DocumentKeys(compared.mapping, compared.settings)
        self._walked = unmarked_query(compared.mapping.mark)
        self._orphans = orphans and compared.mapping.identity.names_whole_key

    async def check_unseen(self, seen: IdSums, digest: Digest = hash) -> None:
        """Check the documents that are not in `seen`, the sums (by `digest`) of the documents that rows should have.

        The ids in the index are summed by bucket. Only documents in buckets with different sums are compared with their
        rows.
        """
        source = DocumentKeys.FIELDS if self._run.request.ranges else ()
        walk = DocumentWalk(self._engine, self._target.place, page=IDS, source=source, query=self._walked)
        walked = IdSums(digest)
        async for page in self._pages(walk):
            walked.add(each.id for each in self._in_ranges(page))
            self._target.counts.add(documents=len(page))
        differing = seen.differing(walked)
        if differing:
            names: list[DocumentName] = []
            async with aclosing(walk.pages()) as pages:
                async for page in pages:
                    names += [
                        DocumentName(self._target.place, each.id, each.routing)
                        for each in page
                        if walked.bucket(each.id) in differing
                    ]
                    if len(names) >= AT_ONCE:
                        await self._check_named(names)
                        names = []
            await self._check_named(names)
        await self._end()

    async def check_all(self) -> None:
        """Check that each document's row exists.

        A walk cannot be resumed: it restarts after a crash. So its findings are recorded only when it is complete.
        """
        parts = round(min(MOST_PARTS, 1 / self._run.request.sample))
        walk = DocumentWalk(
            self._engine,
            self._target.place,
            source=DocumentKeys.FIELDS,
            part=(random.randrange(parts), parts) if parts > 1 else None,  # noqa: S311 -- not a secret
            query=self._walked,
        )
        async for page in self._pages(walk):
            await self._run.pace.take(len(page))
            await self._check([(document, self._keys.of(document)) for document in page])
            self._target.counts.add(documents=len(page))
        await self._end()

    async def _end(self) -> None:
        part = self._part
        await self._run.move(part, part.last, part.rows, done=True, found=self._target.counts)

    def _in_ranges(self, page: Sequence[StoredDocument]) -> Sequence[StoredDocument]:
        ranges = self._run.request.ranges
        if not ranges:
            return page
        return [each for each in page if (key := self._keys.of(each)) is not None and _is_in(key, ranges)]

    async def _check_named(self, names: Sequence[DocumentName]) -> None:
        for start in range(0, len(names), AT_ONCE):
            found = await fetch_documents(self._engine, names[start : start + AT_ONCE], source=DocumentKeys.FIELDS)
            await self._run.pace.take(len(found))
            await self._check([(each, self._keys.of(each)) for each in found if each is not None])

    async def _pages(self, walk: DocumentWalk) -> AsyncIterator[Sequence[StoredDocument]]:
        """Yield the pages of a walk, and record its progress."""
        part = self._part
        total = max(1, await walk.count())
        walked = 0
        async with aclosing(walk.pages()) as pages:
            async for page in pages:
                yield page
                walked += len(page)
                done = (part.last - part.first) * min(walked, total) // total
                await self._run.move(part, part.first + done, part.rows)

    async def _check(self, page: Sequence[tuple[StoredDocument, Key | None]]) -> None:
        wanted, target = self._run.request.ranges, self._target
        orphans: list[Mismatch] = []
        suspects: set[Key] = set()
        documents: dict[Key, StoredDocument] = {}
        for document, key in page:
            if key is not None and (not wanted or _is_in(key, wanted)):
                documents[key] = document
            elif key is None and not wanted:
                orphans.append(_orphan(document))
        keys = list(documents)
        for start in range(0, len(keys), AT_ONCE):
            expected, _ = await target.comparison.expected_documents(keys[start : start + AT_ONCE])
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
        if orphans and self._orphans:
            await target.confirmation.confirm_orphans(orphans)


def _is_in(key: Key, ranges: Sequence[TokenRange]) -> bool:
    token = Murmur3Token.hash_fn(key.partition_key)
    return any(token in each for each in ranges)


def _orphan(document: StoredDocument) -> Mismatch:
    return Mismatch(MismatchKind.SURPLUS, document.id, None, version=document.version, routing=document.routing)
