"""Reconcile: the rows of ranges against their documents, then the documents against their rows."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from cassandra.metadata import Murmur3Token
from elasticsearch import AsyncElasticsearch

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.elastic.stored import DocumentWalk, StoredDocument
from cdc_daemon.jobs.backfill import Scanning
from cdc_daemon.jobs.run import JobRun
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.ports import DocumentBuilder, RowReader
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.reconcile.comparison import Comparison, changes_documents
from cdc_daemon.reconcile.difference import Account, Difference, Kind
from cdc_daemon.reconcile.keys import DocumentKeys
from cdc_daemon.reconcile.passing import Passing
from cdc_daemon.reconcile.settling import AT_ONCE, DirectWriter, Settling
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange

SUSPECTS = 2000
"""Differences that are gathered before they are looked at again: each time costs a wait, and each takes memory."""

MOST_PARTS = 1000
"""Parts that a walk is cut into for a sample (`index.max_slices_per_pit` is 1024)."""

OF_ROWS = frozenset((Kind.MISSING, Kind.DIFFERENT))
"""What is found from the rows."""

OF_DOCUMENTS = frozenset((Kind.SURPLUS,))
"""What is found from the documents."""


class Compared(NamedTuple):
    """One mapping, with what its settings say."""

    mapping: DocumentMapping
    settings: MappingSettings


class Reconcile:
    """Compares page by page, so that memory stays flat at any size.

    What differs is not believed at once: it is looked at again after the tail has passed it, as a change under way is
    no drift. Raises what reading rows, fetching documents and noting progress raise.
    """

    def __init__(
        self,
        *,
        client: AsyncElasticsearch,
        reader: RowReader,
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

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Compare what is left of a range, or walk the documents of a type."""
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
        """Do `work` on another index than that behind the alias; `set_aside` tells which documents cannot be shown."""
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
        account = Account(run.found, part.object_type)
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
        if part.side == DOCUMENTS:
            await self._walk(run, part, _Side(comparison, account, settling, place), compared)
        else:
            await self._rows(run, part, _Side(comparison, account, settling, place), _table(mapping))

    async def finish(self, run: JobRun) -> None:
        """Tell what was found, and that it is done."""
        for object_type in run.request.types:
            account = run.found.get("types", {}).get(object_type, {})
            self._told(object_type, account.get("left", {kind.value: 0 for kind in Kind}))
        await self._done(run)

    async def _rows(self, run: JobRun, part: JobRange, side: _Side, table: TableName) -> None:
        suspects: dict[Key, Difference] = {}
        rows = part.rows
        async for page in self._scan(run).keys(table, TokenRange(part.cursor, part.last)):
            await run.pace.take(len(page.keys))
            for keys in _portions(page.keys):
                look = await side.comparison.look(keys)
                suspects.update({key: each for key, each in look.differences.items() if each.kind in OF_ROWS})
                side.account.add(rows=len(keys), unreadable=look.unreadable)
            rows += len(page.keys)
            if len(suspects) >= SUSPECTS:
                await side.settling.judge(suspects, OF_ROWS)
                suspects = {}
            if not suspects:
                await run.move(part, page.covered, rows - page.uncovered)
        await side.settling.judge(suspects, OF_ROWS)
        await run.move(part, part.last, rows, done=True)

    async def _walk(self, run: JobRun, part: JobRange, side: _Side, compared: Compared) -> None:
        """Check that each document's row is there. It is walked anew after a crash: nothing of it can be resumed."""
        mapping = compared.mapping
        keys_of = DocumentKeys(mapping, compared.settings)
        parts = round(min(MOST_PARTS, 1 / run.request.sample))
        walk = DocumentWalk(
            self._client,
            side.place,
            source=DocumentKeys.FIELDS,
            part=(random.randrange(parts), parts) if parts > 1 else None,  # noqa: S311 -- no secret
        )
        total = max(1, await walk.count())
        walked = 0
        async with aclosing(walk.pages()) as pages:
            async for page in pages:
                await run.pace.take(len(page))
                await self._check(run, side, mapping, [(document, keys_of.of(document)) for document in page])
                walked += len(page)
                side.account.add(documents=len(page))
                done = (part.last - part.first) * min(walked, total) // total
                await run.move(part, part.first + done, walked)
        await run.move(part, part.last, walked, done=True)

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
        for keys in _portions(list(documents)):
            expected, _ = await side.comparison.expect(keys)
            for each in expected:
                document = documents[each.key]
                if each.write.id != document.id or (each.write.routing or None) != document.routing:
                    strangers.append(_stranger(document))
                elif each.write.body is None:
                    suspects.add(each.key)
        if suspects:
            # The walk shows documents as they were when it began; this look is the first that counts.
            await side.settling.judge((await side.comparison.look(list(suspects))).differences, OF_DOCUMENTS)
        if strangers and mapping.identity.names_whole_key:
            await side.settling.judge_strangers(strangers)


class _Side(NamedTuple):
    comparison: Comparison
    account: Account
    settling: Settling
    place: str


def _table(mapping: DocumentMapping) -> TableName:
    return TableName(mapping.table.keyspace, mapping.table.name)


def _portions(keys: Sequence[Key]) -> list[Sequence[Key]]:
    return [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]


def _is_in(key: Key, ranges: Sequence[TokenRange]) -> bool:
    token = Murmur3Token.hash_fn(key.partition_key)
    return any(token in each for each in ranges)


def _stranger(document: StoredDocument) -> Difference:
    return Difference(Kind.SURPLUS, document.id, None, version=document.version, routing=document.routing)
