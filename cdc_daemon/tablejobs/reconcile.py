"""Reconcile: compares the rows of ranges with their documents, then the documents with their rows."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple
from weakref import WeakKeyDictionary

from cassandra.metadata import Murmur3Token
from elasticsearch import AsyncElasticsearch

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.ports import DocumentBuilder
from cdc_daemon.search.document_versions import DocumentName
from cdc_daemon.search.stored_documents import DocumentWalk, StoredDocument, fetch_documents
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.tablejobs.backfill import Scanning
from cdc_daemon.tablejobs.census import Census
from cdc_daemon.tablejobs.comparison import Comparison, ScannedReader, changes_documents
from cdc_daemon.tablejobs.difference import Account, Difference, Kind
from cdc_daemon.tablejobs.document_keys import DocumentKeys
from cdc_daemon.tablejobs.log_progress import Passing
from cdc_daemon.tablejobs.run import JobRun
from cdc_daemon.tablejobs.settling import AT_ONCE, DirectWriter, Settling

SUSPECTS = 2000
"""Differences gathered before they are checked again: each check costs a wait, and each difference takes memory."""

IDS = 5000
"""Document ids in a page that contains only ids."""

MOST_PARTS = 1000
"""Parts that a walk is split into for a sample (`index.max_slices_per_pit` is 1024)."""

OF_ROWS = frozenset((Kind.MISSING, Kind.DIFFERENT))
"""Differences found from the rows."""

OF_DOCUMENTS = frozenset((Kind.SURPLUS,))
"""Differences found from the documents."""


class Compared(NamedTuple):
    """One mapping, with its settings."""

    mapping: DocumentMapping
    settings: MappingSettings


class Reconcile:
    """Compares page by page, so that memory stays flat at any size.

    A difference is not trusted at once: it is checked again after the tail has passed it, as a change in flight is not
    drift. Raises what reading rows, fetching documents and recording progress raise.
    """

    def __init__(
        self,
        *,
        client: AsyncElasticsearch,
        reader: ScannedReader,
        builder: DocumentBuilder,
        scan: Scanning,
        passing: Passing,
        sink: BackgroundSink,
        writer: DirectWriter,
        compared: Mapping[str, Compared],
        told: Callable[[str, Mapping[str, int]], None],
        done: Callable[[JobRun], Awaitable[None]],
    ) -> None:
        self._client = client
        self._reader = reader
        self._builder = builder
        self._scan = scan
        self._passing = passing
        self._sink = sink
        self._writer = writer
        self._compared = compared
        self._told = told
        self._done = done
        self._censuses: WeakKeyDictionary[JobRun, dict[str, Census]] = WeakKeyDictionary()

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
        set_aside: Callable[[Key], bool] = lambda _key: False,
    ) -> None:
        """Do `work` on an index other than the alias's; `set_aside` returns whether a document cannot be shown."""
        compared = self._compared[part.object_type]
        mapping = compared.mapping
        place = index or mapping.alias
        comparison = Comparison(
            self._client,
            self._reader,
            self._builder,
            table=_table(mapping),
            alias=mapping.alias,
            changed=mapping.pipeline is not None or await changes_documents(self._client, place),
            index=place,
        )
        account = Account(part.object_type)
        settling = Settling(
            comparison,
            self._passing,
            account,
            sink=self._sink,
            writer=self._writer,
            alias=mapping.alias,
            repair=repair,
            index=place,
            set_aside=set_aside,
        )
        side = _Side(comparison, account, settling, place)
        if part.side != DOCUMENTS:
            await self._rows(run, part, side, _table(mapping))
        elif run.request.kind != "reconcile" or run.resumed or run.request.ranges or run.request.sample < 1:
            await self._walk(run, part, side, compared)
        else:
            await run.wait_rows(part.object_type)
            await self._recount(run, part, side, compared)

    async def finish(self, run: JobRun) -> None:
        """Report the remaining differences, and that the job is done."""
        for object_type in run.request.types:
            account = run.found.get("types", {}).get(object_type, {})
            self._told(object_type, account.get("left", {kind.value: 0 for kind in Kind}))
        await self._done(run)

    async def _rows(self, run: JobRun, part: JobRange, side: _Side, table: TableName) -> None:
        suspects: dict[Key, Difference] = {}
        counted = settled = part.rows
        census = self._census(run, part.object_type)
        async for page in self._scan(run).rows(table, TokenRange(part.cursor, part.last)):
            await run.pace.take(len(page.keys))
            for keys, reading in _portions(page.keys, page.reading):
                look = await side.comparison.look(keys, reading)
                suspects.update({key: each for key, each in look.differences.items() if each.kind in OF_ROWS})
                census.add(look.there)
                side.account.add(unreadable=len(look.unreadable))
            settled = part.rows + page.settled
            if judged := len(suspects) >= SUSPECTS:
                await side.settling.judge(suspects, OF_ROWS)
                suspects = {}
            if not suspects:
                side.account.add(rows=settled - counted)
                counted = settled
                await run.move(part, page.covered, settled, found=side.account, now=judged)
        await side.settling.judge(suspects, OF_ROWS)
        side.account.add(rows=settled - counted)
        await run.move(part, part.last, settled, done=True, found=side.account)

    def _census(self, run: JobRun, object_type: str) -> Census:
        return self._censuses.setdefault(run, {}).setdefault(object_type, Census())

    async def _recount(self, run: JobRun, part: JobRange, side: _Side, compared: Compared) -> None:
        """Check the documents that were not seen from their rows.

        They are identified by their ids alone; only documents that share a sum with an unseen one are compared with
        their rows. A census does not survive a crash: then each document is checked.
        """
        mapping = compared.mapping
        keys_of = DocumentKeys(mapping, compared.settings)
        walk = DocumentWalk(self._client, side.place, page=IDS)
        seen, walked = self._census(run, part.object_type), Census()
        async for page in self._pages(run, part, walk):
            walked.add(each.id for each in page)
            side.account.add(documents=len(page))
        doubtful = seen.differing(walked)
        if doubtful:
            names: list[DocumentName] = []
            async with aclosing(walk.pages()) as pages:
                async for page in pages:
                    names += [
                        DocumentName(side.place, each.id, each.routing)
                        for each in page
                        if Census.bucket(each.id) in doubtful
                    ]
                    if len(names) >= AT_ONCE:
                        await self._check_named(run, side, mapping, keys_of, names)
                        names = []
            await self._check_named(run, side, mapping, keys_of, names)
        await run.move(part, part.last, part.rows, done=True, found=side.account)

    async def _check_named(
        self, run: JobRun, side: _Side, mapping: DocumentMapping, keys_of: DocumentKeys, names: Sequence[DocumentName]
    ) -> None:
        for start in range(0, len(names), AT_ONCE):
            found = await fetch_documents(self._client, names[start : start + AT_ONCE], source=DocumentKeys.FIELDS)
            await run.pace.take(len(found))
            await self._check(run, side, mapping, [(each, keys_of.of(each)) for each in found if each is not None])

    async def _walk(self, run: JobRun, part: JobRange, side: _Side, compared: Compared) -> None:
        """Check that each document's row exists.

        The walk restarts after a crash, as it cannot be resumed; so its findings count when it is done.
        """
        mapping = compared.mapping
        keys_of = DocumentKeys(mapping, compared.settings)
        parts = round(min(MOST_PARTS, 1 / run.request.sample))
        walk = DocumentWalk(
            self._client,
            side.place,
            source=DocumentKeys.FIELDS,
            part=(random.randrange(parts), parts) if parts > 1 else None,  # noqa: S311 -- not a secret
        )
        async for page in self._pages(run, part, walk):
            await run.pace.take(len(page))
            await self._check(run, side, mapping, [(document, keys_of.of(document)) for document in page])
            side.account.add(documents=len(page))
        await run.move(part, part.last, part.rows, done=True, found=side.account)

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
        self, run: JobRun, side: _Side, mapping: DocumentMapping, page: Sequence[tuple[StoredDocument, Key | None]]
    ) -> None:
        wanted = run.request.ranges
        strangers: list[Difference] = []
        suspects: set[Key] = set()
        documents: dict[Key, StoredDocument] = {}
        for document, key in page:
            if key is not None and (not wanted or _is_in(key, wanted)):
                documents[key] = document
            elif key is None and not wanted and mapping.identity.names_whole_key:
                strangers.append(_stranger(document))
        for keys, _ in _portions(list(documents)):
            expected, _ = await side.comparison.expect(keys)
            for each in expected:
                document = documents[each.key]
                if each.operation.id != document.id or (each.operation.routing or None) != document.routing:
                    strangers.append(_stranger(document))
                elif each.operation.body is None:
                    suspects.add(each.key)
        if suspects:
            # The walk shows documents as of its beginning; this is the first check that counts.
            look = await side.comparison.look(list(suspects))
            side.account.add(unreadable=len(look.unreadable))
            await side.settling.judge(look.differences, OF_DOCUMENTS)
        if strangers and mapping.identity.names_whole_key:
            await side.settling.judge_strangers(strangers)


class _Side(NamedTuple):
    comparison: Comparison
    account: Account
    settling: Settling
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


def _stranger(document: StoredDocument) -> Difference:
    return Difference(Kind.SURPLUS, document.id, None, version=document.version, routing=document.routing)
