"""The delete pass: removes the documents of rows that no longer exist in a table whose removals no log contains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.document.documents import key_values
from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.signal import Key
from cdc_daemon.store.range_jobs import DOCUMENTS, JobRange
from cdc_daemon.tablejobs.backfill import ScanFactory
from cdc_daemon.tablejobs.document_ids import IdSums, lasting_digest
from cdc_daemon.tablejobs.range_job import JobRun
from cdc_daemon.tablejobs.surplus import ComparedMapping, ComparisonTarget, ComparisonTargets, SurplusSearch

SAVED_EVERY = 10.0
"""Seconds between two records of a range's progress: each writes up to half a megabyte of sums."""

MOST_UNSAVED = 100_000
"""Ids that a range keeps until they are recorded. In a partition with more rows they are recorded before it is done."""

_AT_ONCE = 2000
"""Ids that are added to the sums before other work gets its turn."""


class NoBarrier:
    """Waits for nothing: a document is removed by a signal that reads its row again, so in-flight changes are safe."""

    async def wait(self, keys: Sequence[Key]) -> bool:  # noqa: ARG002 -- in the place of a `WriteBarrier`
        """Return True at once."""
        return True


class _Page(NamedTuple):
    """The ids of the documents that rows should have, in the order of the rows; None for a row without a document.

    `covered` and `covered_rows` are those of a `KeyPage`.
    """

    ids: Sequence[str | None]
    covered: int
    covered_rows: int


class DeletePass:
    """Reads the keys of a table, range by range, and compares sums of their ids with those of the documents' ids.

    Only the few documents whose sum differs are compared with their rows. A document without a row is removed by a
    signal: the pipeline reads the row again, and the version of that read decides, so a row that is written in the
    meantime keeps its document. Documents that cannot belong to a row stay: another program may own them.

    Memory stays flat at any size. The sums are stored together with the progress of each range, so a pass continues
    after a restart; only the walk of the documents, which reads nothing but ids, starts again.
    """

    def __init__(
        self,
        targets: ComparisonTargets,
        scan: ScanFactory,
        compared: Mapping[str, ComparedMapping],
        on_done: Callable[[JobRun], Awaitable[None]],
    ) -> None:
        self._targets = targets
        self._scan = scan
        self._compared = compared
        self._on_done = on_done
        self._sums: WeakKeyDictionary[JobRun, dict[str, IdSums]] = WeakKeyDictionary()
        self._loading = asyncio.Lock()
        self._saving = asyncio.Lock()

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Read the rest of a range, or search for documents of a type without a row."""
        compared = self._compared[part.object_type]
        target = await self._targets.of(part.object_type, compared, repair=True)
        sums = await self._sums_of(run, part.object_type)
        if part.side != DOCUMENTS:
            await self._rows(run, part, target, compared, sums)
            return
        await run.wait_rows(part.object_type)
        search = SurplusSearch(run, part, target, compared, orphans=False)
        await search.check_unseen(sums, lasting_digest(run.job.id))

    async def finish(self, run: JobRun) -> None:
        """Report that the pass is complete."""
        await self._on_done(run)

    async def _sums_of(self, run: JobRun, object_type: str) -> IdSums:
        async with self._loading:
            by_type = self._sums.setdefault(run, {})
            if object_type not in by_type:
                stored = await run.sums(object_type)
                by_type[object_type] = IdSums(lasting_digest(run.job.id), stored=stored)
            return by_type[object_type]

    async def _rows(
        self, run: JobRun, part: JobRange, target: ComparisonTarget, compared: ComparedMapping, sums: IdSums
    ) -> None:
        """Add the ids of a range's rows to the sums, which never contain more than the recorded progress."""
        unsaved: list[str | None] = []
        saved = 0
        saved_at = time.monotonic()

        async def save(count: int, cursor: int, covered_rows: int, *, done: bool) -> None:
            nonlocal saved, saved_at, unsaved
            async with self._saving:
                for start in range(0, count, _AT_ONCE):
                    sums.add(each for each in unsaved[start : min(start + _AT_ONCE, count)] if each is not None)
                    await asyncio.sleep(0)  # live changes come first
                saved, unsaved, saved_at = saved + count, unsaved[count:], time.monotonic()
                target.counts.add(rows=count)
                rows, stored = part.rows + covered_rows, sums.dump()
                await run.move(part, cursor, rows, done=done, found=target.counts, now=True, sums=stored)

        covered, covered_rows = part.cursor, 0
        async for page in self._pages(run, part, target, compared):
            unsaved += page.ids
            covered, covered_rows = page.covered, page.covered_rows
            if len(unsaved) > MOST_UNSAVED:
                await save(len(unsaved), covered, covered_rows, done=False)
            elif covered_rows > saved and time.monotonic() >= saved_at + SAVED_EVERY:
                await save(covered_rows - saved, covered, covered_rows, done=False)
        await save(len(unsaved), part.last, covered_rows, done=True)

    async def _pages(
        self, run: JobRun, part: JobRange, target: ComparisonTarget, compared: ComparedMapping
    ) -> AsyncIterator[_Page]:
        """Yield the ids in a range: from the keys alone, unless values decide which rows have a document."""
        scan, left = self._scan(run), TokenRange(part.cursor, part.last)
        if compared.settings.where is None and compared.settings.hook is None:
            async for page in scan.keys(compared.table, left):
                await run.pace.take(len(page.keys))
                yield _Page([_id_of(compared, key) for key in page.keys], page.covered, page.covered_rows)
            return
        async for rows in scan.rows(compared.table, left):
            await run.pace.take(len(rows.keys))
            expected, _ = await target.comparison.expected_documents(rows.keys, rows.reading)
            shown = {each.key: each.operation.id for each in expected if each.operation.body is not None}
            yield _Page([shown.get(key) for key in rows.keys], rows.covered, rows.covered_rows)


def _id_of(compared: ComparedMapping, key: Key) -> str | None:
    mapping = compared.mapping
    try:
        return mapping.id_of(key_values(mapping, key))
    except DocumentError:
        return None
